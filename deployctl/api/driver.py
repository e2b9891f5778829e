"""Drivers of API calls: they send the requests and feed the responses back.

| driver              | requests are sent by      | calls   | used by                             |
|---------------------|---------------------------|---------|-------------------------------------|
| `run`               | a thread pool             | one     | commands that read                  |
| `run_inline`        | the calling thread        | one     | worker threads, which are many      |
| `run_in_background` | a thread pool             | one     | reads that overlap with other work  |
| `run_all`           | a thread pool             | many    | apply                               |

Each call is advanced by one thread only, so calls need no locks. An error of a request is thrown
into its call, which may handle it.

A cancelled command waits for requests in flight as long as answers arrive. If none did for five
seconds, the server is taken for dead, and the threads that wait for it are left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from deployctl.api.calls import ApiCall, Request
from deployctl.api.session import Session
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

K = TypeVar("K")
T = TypeVar("T")

_POLL_INTERVAL = 0.2
"""Seconds between two looks at whether the command was cancelled while requests are in flight."""
_SILENT_POLLS = 25
"""How often in a row a cancelled command finds no answer before it waits no longer."""


@dataclass(frozen=True, slots=True)
class CallResult(Generic[T]):
    """How one call of `run_all` ended: with a value, with an error, or not started."""

    value: T | None = None
    error: DeployctlError | None = None
    started: bool = True

    @property
    def ok(self) -> bool:
        """Whether the call ran to its end without an error."""
        return self.started and self.error is None


NOT_STARTED: CallResult[Any] = CallResult(started=False)


def run(call: ApiCall[T], session: Session) -> T:
    """Runs one call and returns its result.

    An error of a request is thrown into the call when its whole batch has completed; what the call
    doesn't catch is raised. Raises Interrupted before the next request if the session is cancelled,
    and if the server then doesn't answer those in flight.
    """
    with _request_pool(session) as pool:

        def send(batch: Sequence[Request]) -> Sequence[Future[Json]]:
            """Sends the requests and waits until all are done."""
            futures = [pool.submit(session.send, each) for each in batch]
            _await(futures, session)
            return futures

        return _run(call, send)


def run_inline(call: ApiCall[T], session: Session) -> T:
    """Runs one call like `run`, sending its requests one after the other in the calling thread."""
    return _run(call, lambda batch: [_completed(session, each) for each in batch])


def run_in_background(call: ApiCall[T], session: Session) -> Future[T]:
    """Runs one call like `run` in a thread of its own; the future yields its result."""
    executor = ThreadPoolExecutor(1, "api-call")
    future = executor.submit(run, call, session)
    executor.shutdown(wait=False)
    return future


def run_all(
    calls: Mapping[K, ApiCall[T]],
    session: Session,
    on_done: Callable[[K, CallResult[T]], None] = lambda _key, _result: None,
) -> dict[K, CallResult[T]]:
    """Runs independent calls in parallel and returns the result of each.

    Calls start in the order of `calls`. On cancellation, and when the server is taken for dead, no
    further call starts, and the running ones are completed: an object that is written in part is
    worse than a late exit. `on_done` is called in the calling thread when a call ends. An exception
    that is not a DeployctlError is a defect and propagates.
    """
    with _request_pool(session) as pool:
        scheduler = _Scheduler(session, pool, on_done)
        for key, call in calls.items():
            if session.cancellation.is_cancelled or session.is_down:
                call.close()
                scheduler.finish(key, NOT_STARTED)
            else:
                scheduler.start(key, call)
                scheduler.run_until(session.concurrency - 1)
        scheduler.run_until(0)
        return {key: scheduler.results[key] for key in calls}


@contextmanager
def _request_pool(session: Session) -> Iterator[ThreadPoolExecutor]:
    """The threads that send requests. They are not waited for if the server is taken for dead."""
    pool = ThreadPoolExecutor(session.concurrency, "request")
    try:
        yield pool
    finally:
        pool.shutdown(wait=not session.is_down, cancel_futures=True)


def _await(futures: Sequence[Future[Json]], session: Session) -> None:
    """Waits until all are done; raises Interrupted if a cancelled session gets no answer."""
    pending, silent_polls = set(futures), 0
    while pending:
        done, pending = wait(pending, _POLL_INTERVAL)
        silent_polls = 0 if done or not session.cancellation.is_cancelled else silent_polls + 1
        if silent_polls >= _SILENT_POLLS:
            session.give_up()
            raise session.cancellation.interrupted()


def _run(call: ApiCall[T], submit: Callable[[Sequence[Request]], Sequence[Future[Json]]]) -> T:
    responses: Sequence[Json] | None = None
    error: DeployctlError | None = None
    while True:
        try:
            batch = _advance(call, responses, error)
        except StopIteration as finished:
            result: T = finished.value
            return result
        responses, error = _collect(submit(batch))


def _completed(session: Session, request: Request) -> Future[Json]:
    """Sends a request and returns a future that is done."""
    future: Future[Json] = Future()
    try:
        future.set_result(session.send(request))
    except DeployctlError as error:
        future.set_exception(error)
    return future


@dataclass(slots=True, eq=False)
class _RunningCall(Generic[K, T]):
    """A started call and the requests of its current batch."""

    key: K
    call: ApiCall[T]
    futures: Sequence[Future[Json]] = ()
    outstanding: int = 0
    """Requests of the batch without a response so far."""


class _Scheduler(Generic[K, T]):
    """Advances running calls from one thread as the responses arrive."""

    def __init__(
        self,
        session: Session,
        pool: ThreadPoolExecutor,
        on_done: Callable[[K, CallResult[T]], None],
    ) -> None:
        self.results: dict[K, CallResult[T]] = {}
        self._session = session
        self._pool = pool
        self._on_done = on_done
        self._running: set[_RunningCall[K, T]] = set()
        self._responses: SimpleQueue[_RunningCall[K, T]] = SimpleQueue()
        """Holds a call once for each of its completed requests."""

    def start(self, key: K, call: ApiCall[T]) -> None:
        """Starts a call and submits its first batch."""
        running = _RunningCall(key, call)
        self._running.add(running)
        self._advance(running, None, None)

    def run_until(self, limit: int) -> None:
        """Advances calls until at most `limit` of them are running.

        Ends all of them if the session is cancelled and the server doesn't answer.
        """
        silent_polls = 0
        while len(self._running) > limit:
            try:
                running = self._responses.get(timeout=_POLL_INTERVAL)
            except Empty:
                silent_polls += self._session.cancellation.is_cancelled
                if silent_polls >= _SILENT_POLLS:
                    self._give_up()
                continue
            silent_polls = 0
            running.outstanding -= 1
            if not running.outstanding:
                self._advance(running, *_collect(running.futures))

    def finish(self, key: K, result: CallResult[T]) -> None:
        """Records the result of a call."""
        self.results[key] = result
        self._on_done(key, result)

    def _advance(
        self,
        running: _RunningCall[K, T],
        responses: Sequence[Json] | None,
        error: DeployctlError | None,
    ) -> None:
        try:
            batch = _advance(running.call, responses, error)
            while not batch:
                batch = running.call.send([])
        except StopIteration as finished:
            result: CallResult[T] = CallResult(finished.value)
        except DeployctlError as failed:
            result = CallResult(error=failed)
        else:
            self._submit(running, batch)
            return
        self._end(running, result)

    def _end(self, running: _RunningCall[K, T], result: CallResult[T]) -> None:
        self._running.remove(running)
        self.finish(running.key, result)

    def _give_up(self) -> None:
        """Ends the running calls without the responses that they wait for."""
        error = self._session.give_up()
        for running in list(self._running):
            running.call.close()
            self._end(running, CallResult(error=error))

    def _submit(self, running: _RunningCall[K, T], batch: Sequence[Request]) -> None:
        running.outstanding = len(batch)
        running.futures = [
            self._pool.submit(self._session.send, request, finish=True) for request in batch
        ]
        for future in running.futures:
            future.add_done_callback(lambda _future: self._responses.put(running))


def _advance(
    call: ApiCall[T], responses: Sequence[Json] | None, error: DeployctlError | None
) -> Sequence[Request]:
    """Starts a call, or feeds responses or an error to it; returns its next batch."""
    if error is not None:
        return call.throw(error)
    return next(call) if responses is None else call.send(responses)


def _collect(futures: Sequence[Future[Json]]) -> tuple[Sequence[Json], DeployctlError | None]:
    """Waits for all responses; returns them and the first error in the order of the requests."""
    error: DeployctlError | None = None
    responses: list[Json] = []
    for future in futures:
        try:
            responses.append(future.result())
        except DeployctlError as failed:
            error = error or failed
    return responses, error
