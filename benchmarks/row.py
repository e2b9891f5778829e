"""The rows of the benchmark report, and the timing of programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.prefect_cli import CommandResult

WIDTH = 46
HEADER = f"{'what':<{WIDTH}}{'prefect':>10}{'deployctl':>12}{'faster':>9}   budget"


@dataclass(frozen=True)
class Ratio:
    """A measurement of both tools, in seconds or megabytes.

    `budget` is the minimum of prefect / deployctl.
    """

    what: str
    prefect: float
    deployctl: float
    budget: float | None = None
    unit: str = "s"

    def __str__(self) -> str:
        ratio = self.prefect / self.deployctl
        both = f"{self.prefect:>9.2f}{self.unit:<2}{self.deployctl:>10.2f}{self.unit:<2}"
        budget = (
            "" if self.budget is None else _budget(ratio >= self.budget, f"≥ {self.budget:.1f}×")
        )
        return f"{self.what:<{WIDTH}}{both}{ratio:>7.1f}×{budget}"


@dataclass(frozen=True)
class Maximum:
    """A measurement of deployctl alone; `budget` is the highest value allowed."""

    what: str
    deployctl: float
    budget: float
    unit: str = "s"

    def __str__(self) -> str:
        value = f"{self.deployctl:>21.2f}{self.unit:<2}"
        budget = _budget(self.deployctl <= self.budget, f"≤ {self.budget:.0f} {self.unit}")
        return f"{self.what:<{WIDTH}}{value}{'':>8}{budget}"


def _budget(met: bool, budget: str) -> str:
    return f"   {budget}, {'met' if met else 'MISSED'}"


def run_time(program: Callable[[], CommandResult], *, best_of: int = 1) -> float:
    """Return the shortest time of several runs, in seconds.

    Raises `RuntimeError` when a run fails.
    """
    times = []
    for _ in range(best_of):
        start = time.perf_counter()
        ended = program()
        times.append(time.perf_counter() - start)
        if ended.code:
            raise RuntimeError(f"exit code {ended.code}:\n{ended.stdout}\n{ended.stderr}")
    return min(times)
