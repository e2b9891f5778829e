"""Virtual time for code that blocks: processes that take turns, and a clock that jumps.

Code under test sleeps, waits for a message or for its turn at a server; each such wait is an event
of a simulation. A process is a thread, but only one runs at any moment: it hands over when it
waits. So the order of events depends on nothing but the simulation, and an hour takes as long as
the code in it.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
_STACK = 512 * 1024
"""Bytes of a thread's stack: there may be thousands."""


class Settable(Protocol):
    """A clock that can be set."""

    now: float


class Ended(BaseException):
    """Raised in a process that waits when the simulation is closed."""


class _Process:
    """A thread that runs one body after the other, whenever it is resumed."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._body: Callable[[], object] | None = None
        self.waits = 0
        """Counts waits, so that an event that comes too late resumes nothing."""
        threading.Thread(target=self._repeat, daemon=True).start()

    def start(self, body: Callable[[], object]) -> None:
        """Run a body until it waits for the first time."""
        self._body = body
        self.resume(self.waits)

    def resume(self, wait: int) -> None:
        """Continue after a wait; returns when the process waits again or has ended."""
        if wait != self.waits:
            return
        self.waits += 1
        before, self._time.current = self._time.current, self
        self._go.release()
        self._back.acquire()
        self._time.current = before

    def suspend(self) -> None:
        """Wait until `resume`. Raises `Ended` if the simulation is closed."""
        self._back.release()
        self._go.acquire()
        if self._time.is_closed:
            raise Ended

    def _repeat(self) -> None:
        while True:
            self._go.acquire()
            if self._time.is_closed:
                self._back.release()
                return
            assert self._body is not None
            try:
                self._body()
            except Ended:
                self._back.release()
                return
            except BaseException as error:
                self._time.failures.append(error)
            self._body = None
            self._time.idle.append(self)
            self._back.release()


class VirtualTime:
    """Events in the order of their times, and the processes that wait for them."""

    def __init__(self, clock: Settable) -> None:
        self._clock = clock
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0
        self._processes: list[_Process] = []
        self.idle: list[_Process] = []
        self.current: _Process | None = None
        self.is_closed = False
        self.failures: list[BaseException] = []

    @property
    def now(self) -> float:
        """Seconds of the simulation's clock."""
        return self._clock.now

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Call a function at a time, or now if that is past."""
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, call))

    def run(self, until: float) -> None:
        """Let all events up to a time happen. Raises what a process has raised."""
        while self._events and self._events[0][0] <= until:
            self._clock.now, _, call = heapq.heappop(self._events)
            call()
            if self.failures:
                raise self.failures[0]
        self._clock.now = until

    def spawn(self, body: Callable[[], object]) -> None:
        """Start a process now."""

        def start() -> None:
            if self.idle:
                process = self.idle.pop()
            else:
                threading.stack_size(_STACK)
                process = _Process(self)
                threading.stack_size(0)
                self._processes.append(process)
            process.start(body)

        self.at(self.now, start)

    def sleep(self, seconds: float) -> None:
        """Let the current process wait for a duration."""
        Signal(self).wait(seconds)

    def close(self) -> None:
        """End all processes."""
        self.is_closed = True
        for process in self._processes:
            process.resume(process.waits)


class Signal:
    """Lets one process wait until another one notifies it, or until a time."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._waiting: tuple[_Process, int] | None = None

    def wait(self, seconds: float | None = None) -> None:
        """Wait for `notify`, at most for `seconds`."""
        process = self._time.current
        assert process is not None, "only a process can wait"
        wait = process.waits
        self._waiting = process, wait
        if seconds is not None:
            self._time.at(self._time.now + seconds, lambda: process.resume(wait))
        process.suspend()
        self._waiting = None

    def notify(self, delay: float = 0.0) -> None:
        """Resume the process that waits, if there is one, after a delay."""
        if self._waiting is not None:
            process, wait = self._waiting
            self._waiting = None
            self._time.at(self._time.now + delay, lambda: process.resume(wait))


class VirtualQueue(Generic[T]):
    """A queue like `queue.SimpleQueue`; `get` also waits for the messages that follow at once."""

    def __init__(self, time: VirtualTime, debounce: float) -> None:
        self._time, self._debounce = time, debounce
        self._items: deque[T] = deque()
        self._arrived = Signal(time)

    def put(self, item: T) -> None:
        """Append an item."""
        self._items.append(item)
        self._arrived.notify(self._debounce)

    def get(self, timeout: float) -> T:
        """Remove the first item. Raises `queue.Empty` if there is none within the timeout."""
        if not self._items:
            self._arrived.wait(timeout)
        elif self._debounce:
            self._time.sleep(self._debounce)
        return self.get_nowait()

    def get_nowait(self) -> T:
        """Remove the first item. Raises `queue.Empty` if there is none."""
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        """Whether there is no item."""
        return not self._items

    def qsize(self) -> int:
        """The number of items."""
        return len(self._items)


class Station:
    """Serves requests one after the other, several at once if there are more `servers`."""

    def __init__(self, time: VirtualTime, servers: int = 1) -> None:
        self._time = time
        self._free_at = [float("-inf")] * servers
        self.busy = 0.0
        """Seconds of service so far."""
        self.longest_wait = 0.0

    def reserve(self, seconds: float) -> float:
        """Add a request that needs this long; returns when it is done."""
        start = max(self._time.now, heapq.heappop(self._free_at))
        heapq.heappush(self._free_at, start + seconds)
        self.busy += seconds
        self.longest_wait = max(self.longest_wait, start - self._time.now)
        return start + seconds

    def use(self, seconds: float, latency: float = 0.0) -> None:
        """Let the current process wait until it has been served and the answer has arrived."""
        self._time.sleep(self.reserve(seconds) - self._time.now + latency)

    def submit(self, seconds: float, call: Callable[[], Any]) -> None:
        """Call a function once a request without a process has been served."""
        self._time.at(self.reserve(seconds), call)


class Turn:
    """Lets one process at a time through, in the order of their arrival."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._taken = False
        self._waiting: deque[Signal] = deque()

    def __enter__(self) -> None:
        if self._taken:
            signal = Signal(self._time)
            self._waiting.append(signal)
            signal.wait()
        self._taken = True

    def __exit__(self, *exception: object) -> None:
        if self._waiting:
            self._waiting.popleft().notify()
        else:
            self._taken = False
