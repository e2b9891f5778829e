"""What a benchmark gives, and the one way in which programs are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.prefect_cli import CommandResult


@dataclass(frozen=True)
class Row:
    """One measurement of both, in seconds or megabytes, and how much less deployctl has to take."""

    what: str
    prefect: float
    deployctl: float
    budget: float | None = None
    unit: str = "s"

    def __str__(self) -> str:
        ratio = self.prefect / self.deployctl
        both = f"{self.prefect:>9.2f}{self.unit:<2}{self.deployctl:>10.2f}{self.unit:<2}"
        kept = "" if self.budget is None else _kept(ratio >= self.budget, f"≥ {self.budget:.1f}×")
        return f"{self.what:<34}{both}{ratio:>7.1f}×{kept}"


@dataclass(frozen=True)
class Most:
    """One measurement of deployctl alone, and the most that it may be."""

    what: str
    deployctl: float
    budget: float
    unit: str = "s"

    def __str__(self) -> str:
        own = f"{self.deployctl:>21.2f}{self.unit:<2}"
        kept = _kept(self.deployctl <= self.budget, f"≤ {self.budget:.0f} {self.unit}")
        return f"{self.what:<34}{own}{'':>8}{kept}"


def _kept(is_kept: bool, budget: str) -> str:
    return f"   {budget}, {'kept' if is_kept else 'MISSED'}"


def seconds(program: Callable[[], CommandResult], *, best_of: int = 1) -> float:
    """The shortest of several runs of a program; raises `RuntimeError` when one fails."""
    times = []
    for _ in range(best_of):
        start = time.perf_counter()
        ended = program()
        times.append(time.perf_counter() - start)
        if ended.code:
            raise RuntimeError(f"exit code {ended.code}:\n{ended.stdout}\n{ended.stderr}")
    return min(times)
