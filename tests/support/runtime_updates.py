"""Records what a runtime emits while a test runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deployctl.core.cancellation import CancellationToken
from deployctl.worker.model import (
    Job,
    JobChanged,
    JobsListed,
    LinePrinted,
    Phase,
    Runtime,
    RuntimeUpdate,
)
from tests.support.waiting import TIMEOUT, until


class UpdateRecorder:
    """Receives updates from a runtime; a test waits for those that it expects."""

    def __init__(self) -> None:
        self.queue: queue.Queue[RuntimeUpdate] = queue.Queue()
        """Updates that no test has waited for yet."""
        self.received: list[RuntimeUpdate] = []
        """Updates that were taken from the queue, in order."""

    def wait_for(self, matches: Callable[[RuntimeUpdate], bool]) -> RuntimeUpdate:
        """The next update that matches."""
        while True:
            update = self.queue.get(timeout=TIMEOUT)
            self.received.append(update)
            if matches(update):
                return update

    def wait_for_phase(self, phase: Phase) -> Job:
        """The next job that changed to this phase."""
        update = self.wait_for(lambda it: isinstance(it, JobChanged) and it.job.phase is phase)
        assert isinstance(update, JobChanged)
        return update.job

    def next_list(self) -> list[Job]:
        """The jobs of the next list."""
        update = self.wait_for(lambda it: isinstance(it, JobsListed))
        assert isinstance(update, JobsListed)
        return list(update.jobs)

    @property
    def lines(self) -> list[str]:
        """All printed lines that were received so far."""
        return [update.line for update in self.received if isinstance(update, LinePrinted)]


@contextmanager
def recording(runtime: Runtime) -> Iterator[UpdateRecorder]:
    """Run `watch` of the runtime in a thread for the length of a block.

    The block begins after the first list, or when the runtime reports why there is none: jobs that
    existed before are in a list, not in changes.
    """
    recorder, stop = UpdateRecorder(), CancellationToken()
    thread = threading.Thread(target=runtime.watch, args=(recorder.queue.put, stop))
    thread.start()
    try:
        until(lambda: any(each.last_contact or each.problem for each in runtime.watch_statuses()))
        yield recorder
    finally:
        stop.cancel()
        thread.join()
