"""What a runtime tells while a test goes on."""

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
from tests.support.waiting import PATIENCE, until


class Heard:
    """All that was told, in order; a test waits for what it wants."""

    def __init__(self) -> None:
        self.news: queue.Queue[RuntimeUpdate] = queue.Queue()
        self.all: list[RuntimeUpdate] = []

    def until(self, wanted: Callable[[RuntimeUpdate], bool]) -> RuntimeUpdate:
        """The next news that is wanted."""
        while True:
            news = self.news.get(timeout=PATIENCE)
            self.all.append(news)
            if wanted(news):
                return news

    def job(self, phase: Phase) -> Job:
        """The next job that changed into this phase."""
        news = self.until(lambda it: isinstance(it, JobChanged) and it.job.phase is phase)
        assert isinstance(news, JobChanged)
        return news.job

    def listed(self) -> list[Job]:
        """The jobs of the next list."""
        news = self.until(lambda it: isinstance(it, JobsListed))
        assert isinstance(news, JobsListed)
        return list(news.jobs)

    @property
    def lines(self) -> list[str]:
        """All lines that were told so far."""
        return [news.line for news in self.all if isinstance(news, LinePrinted)]


@contextmanager
def watching(watched: Runtime) -> Iterator[Heard]:
    """Runs the runtime's `watch` in a thread, which has had its first look, or says why not: what
    was there before is listed, and no change."""
    heard, stop = Heard(), CancellationToken()
    thread = threading.Thread(target=watched.watch, args=(heard.news.put, stop))
    thread.start()
    try:
        until(lambda: any(each.last_contact or each.problem for each in watched.watch_statuses()))
        yield heard
    finally:
        stop.cancel()
        thread.join()
