"""Claims of this process whose Jobs it has not seen yet: beside Jobs, they take slots of `--limit`.

A claim takes its slot until its Job is seen or known not to exist. Once the creation of the Job was
begun, it may exist whatever its run does: the answer may be lost, the watch late, and the run over
before its pod. So the Job of such a claim is looked for before the slot is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deployctl.api.states import PENDING
from deployctl.worker.model import Run


@dataclass(slots=True)
class OwnClaims:
    """Claims without a known Job, by attempt."""

    runs: dict[str, str] = field(default_factory=dict)
    """Attempt → run, for claims that their runs are under, as far as is known."""
    left: dict[str, Run] = field(default_factory=dict)
    """Attempt → run, for claims that their runs have left although a Job may have been created."""
    starting: dict[str, str] = field(default_factory=dict)
    """Run → attempt whose Job is being created."""
    resumed: bool = False
    """Claims of an earlier process of this worker's name are among them."""
    _begun: dict[str, Run] = field(default_factory=dict)
    """Attempt → run, for Jobs whose creation was begun."""

    def unseen(self) -> set[str]:
        """Returns the attempts that have, or may get, a Job that was not seen."""
        return {*self.runs, *self.left, *self.starting.values()}

    def add(self, run: Run) -> None:
        """Adds the claim that a run is under."""
        self.runs[run.attempt] = run.id

    def begin_start(self, run: Run) -> None:
        """Notes that the creation of a Job begins."""
        self.starting[run.id] = run.attempt
        self._begun[run.attempt] = run

    def end_start(self, run_id: str) -> None:
        """Notes that a creation has ended; if it failed, the Job may exist nonetheless."""
        self.starting.pop(run_id, None)

    def mark_seen(self, attempt: str) -> None:
        """Drops a claim whose Job was seen."""
        self.runs.pop(attempt, None)
        self.mark_missing(attempt)

    def mark_missing(self, attempt: str) -> None:
        """Notes that there is no Job of a claim; if its run has left it, nothing is left of it."""
        self.left.pop(attempt, None)
        self._begun.pop(attempt, None)

    def observe(self, run: Run) -> None:
        """Drops claims that a run has left: it has ended, or is under another claim by now."""
        if run.is_active and not run.attempt and not run.foreign:
            return  # whose claim this is has not been found out yet
        current = run.attempt if run.type == PENDING else ""
        self._leave(a for a, run_id in self.runs.items() if run_id == run.id and a != current)

    def forget_run(self, run_id: str) -> None:
        """Drops the claims of a run that was deleted."""
        self._leave(attempt for attempt, run in self.runs.items() if run == run_id)

    def _leave(self, attempts: Iterable[str]) -> None:
        for attempt in list(attempts):
            del self.runs[attempt]
            if run := self._begun.get(attempt):
                self.left[attempt] = run
