"""Runs talks: the one place of deployctl's command line that makes threads.

Talks are advanced by the calling thread alone, one after the other, so that nothing in them needs a
lock; only their requests run in parallel. An error of a request is thrown into its talk, which may
know what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from deployctl.api.calls import ApiCall, Request
from deployctl.api.session import Session
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallResult(Generic[T]):
    """How a talk ended: with a value, with an error, or never begun."""

    value: T | None = None
    error: DeployctlError | None = None
    started: bool = True

    @property
    def ok(self) -> bool:
        """Whether it came to its end."""
        return self.started and self.error is None


NOT_STARTED: CallResult[Any] = CallResult(started=False)


def run(talk: ApiCall[T], session: Session) -> T:
    """Holds one talk and gives its result.

    A request that fails throws its error into the talk once its whole batch has ended; what the
    talk does not catch is raised here. A stop that was asked for raises Interrupted before the next
    request.
    """
    with ThreadPoolExecutor(session.concurrency, "request") as pool:
        return _hold(talk, lambda batch: [pool.submit(session.send, each) for each in batch])


def run_inline(talk: ApiCall[T], session: Session) -> T:
    """Holds one talk as `run` does, but sends its requests one by one from the calling thread: for
    those who are one thread among many already.
    """
    return _hold(talk, lambda batch: [_sent(session, each) for each in batch])


def _hold(talk: ApiCall[T], ask: Callable[[Sequence[Request]], Sequence[Future[Json]]]) -> T:
    answers: Sequence[Json] | None = None
    error: DeployctlError | None = None
    while True:
        try:
            batch = _advance(talk, answers, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answers, error = _gather(ask(batch))


def _sent(session: Session, request: Request) -> Future[Json]:
    """A request that has ended already."""
    future: Future[Json] = Future()
    try:
        future.set_result(session.send(request))
    except DeployctlError as failed:
        future.set_exception(failed)
    return future


def run_in_background(talk: ApiCall[T], session: Session) -> Future[T]:
    """Holds a talk beside whatever the caller does meanwhile; the future gives its result."""
    with_one = ThreadPoolExecutor(1, "talk")
    future = with_one.submit(run, talk, session)
    with_one.shutdown(wait=False)
    return future


def run_all(
    talks: Mapping[K, ApiCall[T]],
    session: Session,
    on_done: Callable[[K, CallResult[T]], None] = lambda _key, _outcome: None,
) -> dict[K, CallResult[T]]:
    """Holds many talks at once, each apart from the others, and gives the outcome of each.

    Talks begin in the order of `talks`. When a stop is asked for, those under way are finished
    (half an object is worse than a late end) and no further one begins. `on_done` is called by this
    thread as each ends. An error that is not a DeployctlError is a defect and ends everything.
    """
    with ThreadPoolExecutor(session.concurrency, "request") as pool:
        floor = _Floor(session, pool, on_done)
        for key, talk in talks.items():
            if session.cancellation.is_cancelled:
                talk.close()
                floor.end(key, NOT_STARTED)
            else:
                floor.begin(key, talk)
                floor.listen(session.concurrency - 1)
        floor.listen(0)
        return {key: floor.outcomes[key] for key in talks}


@dataclass(slots=True, eq=False)
class _Held(Generic[K, T]):
    """A talk that is being held, and the requests that it waits for."""

    key: K
    talk: ApiCall[T]
    pending: Sequence[Future[Json]] = ()
    missing: int = 0


class _Floor(Generic[K, T]):
    """The talks under way, advanced by one thread as their answers come in."""

    def __init__(
        self,
        session: Session,
        pool: ThreadPoolExecutor,
        on_done: Callable[[K, CallResult[T]], None],
    ) -> None:
        self.outcomes: dict[K, CallResult[T]] = {}
        self._session = session
        self._pool = pool
        self._on_done = on_done
        self._under_way = 0
        self._ended: SimpleQueue[_Held[K, T]] = SimpleQueue()
        """A talk comes up once for each of its requests that ended."""

    def begin(self, key: K, talk: ApiCall[T]) -> None:
        """Asks what the talk asks first."""
        self._under_way += 1
        self._go_on(_Held(key, talk), None, None)

    def listen(self, most: int) -> None:
        """Advances talks until no more than `most` are under way."""
        while self._under_way > most:
            held = self._ended.get()
            held.missing -= 1
            if not held.missing:
                self._go_on(held, *_gather(held.pending))

    def end(self, key: K, outcome: CallResult[T]) -> None:
        """Takes note of how a talk ended."""
        self.outcomes[key] = outcome
        self._on_done(key, outcome)

    def _go_on(
        self, held: _Held[K, T], answers: Sequence[Json] | None, error: DeployctlError | None
    ) -> None:
        try:
            batch = _advance(held.talk, answers, error)
            while not batch:
                batch = held.talk.send([])
        except StopIteration as stop:
            outcome: CallResult[T] = CallResult(stop.value)
        except DeployctlError as failed:
            outcome = CallResult(error=failed)
        else:
            self._ask(held, batch)
            return
        self._under_way -= 1
        self.end(held.key, outcome)

    def _ask(self, held: _Held[K, T], batch: Sequence[Request]) -> None:
        held.missing = len(batch)
        held.pending = [
            self._pool.submit(self._session.send, request, finish=True) for request in batch
        ]
        for future in held.pending:
            future.add_done_callback(lambda _future: self._ended.put(held))


def _advance(
    talk: ApiCall[T], answers: Sequence[Json] | None, error: DeployctlError | None
) -> Sequence[Request]:
    if error is not None:
        return talk.throw(error)
    return next(talk) if answers is None else talk.send(answers)


def _gather(futures: Sequence[Future[Json]]) -> tuple[Sequence[Json], DeployctlError | None]:
    """Waits for all answers; gives them, or the first error in the order of the requests."""
    error: DeployctlError | None = None
    answers: list[Json] = []
    for future in futures:
        try:
            answers.append(future.result())
        except DeployctlError as failed:
            error = error or failed
    return answers, error
