"""Input of `decide`: what a worker knows at one moment, as one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployctl.worker.control.reports import Report
from deployctl.worker.model import Job, Run
from deployctl.worker.server.claims import Proposal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a worker knows at one moment."""

    now: float
    due: Sequence[Run] = ()
    """Scheduled runs that the server offers, in its order."""
    age: float = 0.0
    """Seconds since the server was asked for them."""
    runs: Mapping[str, Run] = field(default_factory=dict)
    """Active runs of the pool and the runs of known Jobs, by id."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """By attempt."""
    missing: Mapping[str, float] = field(default_factory=dict)
    """Run id → since when the run has been without its Job, while all locations are listed."""
    final_states: Mapping[str, Proposal] = field(default_factory=dict)
    """Attempt → state to propose once the Job, which is being deleted, is gone."""
    ending: Mapping[str, str] = field(default_factory=dict)
    """Run → attempt of `final_states` whose Job had started: Prefect 3's process schedules its run
    again on SIGTERM, and the run must get its end nonetheless."""
    own_claims: Mapping[str, str] = field(default_factory=dict)
    """Attempt → run, for claims of this process whose Job has not been seen yet."""
    left_claims: Mapping[str, Run] = field(default_factory=dict)
    """Attempt → run, for those that the run has left although a Job may have been created."""
    reports: Sequence[Report] = ()
    """Reports about Jobs, also those that are in flight."""
    reporting: int = 0
    """How many of them are in flight."""
    starting: bool = False
    """A claim or a start of a Job is in flight."""
    in_flight: frozenset[str] = frozenset()
    """Runs with an action in flight or in back-off."""
    slots: int | None = None
    """How many more Jobs `--limit` allows, negative if there are more than that already; None:
    unlimited."""
    unstarted_claims: int = 0
    """Claims of other processes without a Job; they take slots before new claims do."""
    claiming: bool = True
    is_leader: bool = True
    complete: bool = True
    """All runs and all Jobs have been read since the start, and changes arrive."""
    deleted: frozenset[str] = frozenset()
    """Runs of known Jobs that the server does not have any more."""
    gone_owners: frozenset[str] = frozenset()
    """Owners of foreign claims that no other worker looks after any more."""
