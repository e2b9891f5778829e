"""Parameters and figures of a soak test."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """Parameters of a soak."""

    runs: int
    seed: int
    replicas: int = 2
    limit: int = 8
    """`--limit` of each replica."""
    flow_seconds: float = 1.5
    """Longest time for which a flow runs."""
    fault_interval: tuple[float, float] = (0.05, 0.4)
    """Shortest and longest time between faults, in seconds."""
    kill_interval: tuple[float, float] = (4.0, 16.0)
    """Shortest and longest time between kills, in seconds."""
    timeout: float = 1800.0
    """Seconds until all runs must have ended."""

    def rng(self, purpose: str) -> random.Random:
        """Return a random generator for one purpose."""
        return random.Random(f"{purpose} {self.seed}")


@dataclass
class Figures:
    """Counts and violations of a soak."""

    plan: Plan
    major: int
    seconds: float = 0.0
    kills: int = 0
    starts: int = 0
    """Pods in which a process started."""
    attempts: int = 0
    handed_back: int = 0
    """Claims after a run's end, which servers accept, and that were undone."""
    jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    """Largest number of live Jobs, by the name of the worker that created them."""
    most_alive: int = 0
    """Largest number of live Jobs of all workers."""
    requests: int = 0
    """Of all workers to the Prefect server."""
    memory: float = 0.0
    """Largest memory of a worker process, in megabytes."""
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Return everything that must not happen."""
        over = [
            f"worker {name} had {most} Jobs at once, with a limit of {self.plan.limit}"
            for name, most in sorted(self.most.items())
            if most > self.plan.limit
        ]
        return self.lost + self.duplicated + over

    def table_row(self, server: str) -> str:
        """The row of the table in docs/worker.md; `server` is Prefect's version and database."""
        cells = (
            server,
            self.plan.replicas,
            self.plan.runs,
            self.jobs,
            self.kills,
            self.faults.total(),
            len(self.lost),
            len(self.duplicated),
            max(self.most.values(), default=0),
            self.most_alive,
            f"{self.requests / max(1, self.plan.runs):.1f}",
            f"{self.memory:.0f} MB",
            f"{self.seconds:.0f} s",
        )
        return f"| {' | '.join(map(str, cells))} |"

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items()))
        most = ", ".join(f"{name} {n}" for name, n in sorted(self.most.items()))
        return "\n".join(
            [
                f"Prefect {self.major}.x, seed {self.plan.seed}, {self.seconds:.0f} s:",
                f"  {self.plan.runs} runs, {self.attempts} attempts, {self.jobs} Jobs, "
                f"{self.starts} processes started",
                f"  {self.handed_back} runs claimed after their end, and handed back",
                f"  {self.kills} workers killed; {self.faults.total()} faults: {faults}",
                f"  most Jobs at once, of {self.plan.limit} allowed: {most}",
                f"  {self.most_alive} Jobs at once in all",
                f"  {self.requests} requests of workers, {self.memory:.0f} MB at most",
                f"  lost {len(self.lost)}, duplicated {len(self.duplicated)}",
                *(f"  {line}" for line in self.violations),
            ]
        )
