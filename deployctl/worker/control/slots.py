"""Counts what takes the slots of `--limit`: Jobs, and claims that become Jobs."""

from __future__ import annotations

from typing import Protocol

from deployctl.api.states import PENDING
from deployctl.worker.control.own_claims import OwnClaims
from deployctl.worker.model import Job, Run


class CountedState(Protocol):
    """What is counted: a part of the `StateStore`, with its meanings."""

    runs: dict[str, Run]
    jobs: dict[str, Job]
    due: list[Run]
    claims: OwnClaims
    in_flight: set[str]
    refused_at: dict[str, float]


def count_live_jobs(store: CountedState, worker: str, hung_before: float = 0.0) -> int:
    """Counts the Jobs of this worker that exist or are about to.

    A Job whose deletion should have ended at `hung_before` does not count.
    """
    existing = sum(
        job.worker == worker and not job.phase.is_over and not job.deletion_hangs(hung_before, 0.0)
        for job in store.jobs.values()
    )
    claiming = sum(run.id in store.in_flight for run in store.due)
    return existing + claiming + len(store.claims.unseen() - store.jobs.keys())


def count_unstarted_claims(store: CountedState) -> int:
    """Counts claims of other processes without a Job and without an action in flight. A start of
    theirs that failed may have created a Job nonetheless.
    """
    return sum(
        run.type == PENDING
        and bool(run.attempt)
        and run.attempt not in store.jobs
        and run.attempt not in store.claims.runs
        and run.id not in store.in_flight
        for run in store.runs.values()
    )


def count_waiting_for_slot(store: CountedState, slots: int | None) -> int:
    """Counts due runs that a limit holds back: of the server, or ours if no slot is left."""
    held_back = {run.id for run in store.due} if slots is not None and slots <= 0 else set()
    return len(held_back | store.refused_at.keys())
