"""What a benchmark gives, and the one way in which programs are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.prefect_cli import Ended


@dataclass(frozen=True)
class Row:
    """One measurement: the seconds of both, and how much faster deployctl has to be."""

    what: str
    prefect: float
    deployctl: float
    budget: float

    @property
    def faster(self) -> float:
        """How many times the seconds of deployctl go into those of prefect."""
        return self.prefect / self.deployctl


def seconds(program: Callable[[], Ended], *, best_of: int = 1) -> float:
    """The shortest of several runs of a program; raises `RuntimeError` when one fails."""
    times = []
    for _ in range(best_of):
        start = time.perf_counter()
        ended = program()
        times.append(time.perf_counter() - start)
        if ended.code:
            raise RuntimeError(f"exit code {ended.code}:\n{ended.stdout}\n{ended.stderr}")
    return min(times)
