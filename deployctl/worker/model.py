"""Runs, Jobs, updates about Jobs, and the interface of a runtime.

A worker compares runs (of the server) with Jobs (of a runtime). All times are seconds of the epoch
by the server's clock unless said otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol, TypeAlias

from deployctl.api.states import ACTIVE
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec, Limits

NO_LIMITS = Limits()


class Phase(StrEnum):
    """Phase of a Job."""

    WAITING = "waiting"
    """Not over, and nothing of it runs: it has not started, or waits for a retry of its pod."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing of the Job will run again."""
        return self in (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a Job waits or failed, worded for the owner of the flow."""

    code: str
    """`ImagePull`, `OutOfMemory`, …: stable, used in metrics and events."""
    message: str
    """One sentence without a full stop."""
    help: str = ""
    """What to do about it, as a sentence of its own."""
    stuck: bool = False
    """A waiting Job with this cause will not start without intervention."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker keeps in memory of a Job."""

    run: str
    attempt: str
    name: str
    location: str
    """Where in the runtime: `namespace` or `cluster/namespace`. Opaque outside the runtime."""
    pid: str
    """The run's `infrastructure_pid` on the server."""
    worker: str
    """Name of the worker that created it."""
    phase: Phase
    since: float
    """When it entered this phase."""
    started: bool = False
    """A container has run, so the flow may have begun."""
    restarts: bool = False
    """Nothing of it runs, and a process is going to be started after one that has failed."""
    cause: Cause | None = None
    limits: Limits = NO_LIMITS
    deleting: bool = False
    """Its deletion has been requested."""
    deletion_deadline: float | None = None
    """When its processes should have ended, if it is being deleted; None: not known (yet)."""

    def with_offset(self, seconds: float) -> Job:
        """Returns the Job with its times by a clock that is ahead by so many seconds."""
        deadline = self.deletion_deadline
        deadline = None if deadline is None else deadline + seconds
        return replace(self, since=self.since + seconds, deletion_deadline=deadline)

    def deletion_hangs(self, now: float, grace: float) -> bool:
        """Whether the Job still exists `grace` seconds after the deadline of its deletion."""
        deadline = self.deletion_deadline
        return self.deleting and deadline is not None and now >= deadline + grace


@dataclass(frozen=True, slots=True)
class Run:
    """What a worker keeps in memory of a flow run."""

    id: str
    name: str
    """With an attempt: the name that the run had when it was claimed."""
    state_id: str
    type: str
    """SCHEDULED, PENDING, RUNNING, CANCELLING, CANCELLED, COMPLETED, FAILED, CRASHED, PAUSED."""
    state_name: str
    since: float
    """When it entered this state."""
    deployment: str
    flow: str
    pid: str = ""
    """`infrastructure_pid`."""
    attempt: str = ""
    """Our claim that the run is under; "" if there is none or it is not known yet."""
    foreign: bool = False
    """The run is known to be under a claim of another owner."""
    claim_owner: str = ""
    """That owner; "" if no worker of deployctl made the claim."""
    claim_worker: str = ""
    """Name of the worker that made that claim."""
    in_process: bool = False
    """Only the process of its Job can take its next step: it sleeps before a retry (SCHEDULED), or
    is paused without being suspended. The server offers such a run to no worker."""
    queue: str = ""
    """Id of its work queue."""
    due: float = 0.0
    """When it should start; 0.0 if the server did not say."""
    claimed_at: float = field(default=0.0, compare=False)
    """When this process claimed it, by `time.monotonic`; lost when the run is read again."""

    @property
    def is_active(self) -> bool:
        """Whether the run has a Job, or should have one."""
        return self.type in ACTIVE or self.in_process

    def since_claim(self, now: float) -> float:
        """Returns the seconds since its claim; if another process made it, by `now`."""
        return time.monotonic() - self.claimed_at if self.claimed_at else max(0.0, now - self.since)


class StartFailed(DeployctlError):
    """A Job cannot be created; the cause is for the owner."""

    code = "DC601"

    def __init__(self, cause: Cause, retry_for: float = 0.0) -> None:
        """`retry_for`: seconds since the run's claim within which the refusal may pass."""
        super().__init__(cause.message, help=cause.help or None)
        self.cause = cause
        self.retry_for = retry_for


class RuntimeUnavailable(DeployctlError):
    """The runtime cannot be reached or is overloaded; a later retry may succeed."""

    code = "DC602"


class LocationRefused(RuntimeUnavailable):
    """Where a Job should be may not be read, or is not known to this worker any more."""


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A Job was created or has changed."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobVanished:
    """The Job of this attempt does not exist any more."""

    attempt: str


@dataclass(frozen=True, slots=True)
class JobsListed:
    """All Jobs of a location. A Job that is missing here is gone, unless it was created later than
    `requested_at`."""

    location: str
    jobs: tuple[Job, ...]
    requested_at: float = field(compare=False)
    """When the list was requested, by `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class LinePrinted:
    """A line that a Job printed, for Jobs with `limits.stream_output`."""

    attempt: str
    line: str


@dataclass(frozen=True, slots=True)
class EventObserved:
    """An event about a Job for the server's event log (3.x): an item of `POST /events`."""

    attempt: str
    event: Mapping[str, Json] = field(hash=False)


RuntimeUpdate: TypeAlias = JobChanged | JobVanished | JobsListed | LinePrinted | EventObserved
Emit: TypeAlias = Callable[[RuntimeUpdate], None]
"""Receives updates from any thread and returns at once; only LinePrinted may block, until the line
is written."""


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """State of a runtime's watch of one location."""

    location: str
    last_contact: float
    """When the last list, event or bookmark arrived; 0.0 before the first list."""
    problem: str = ""
    """Why no updates arrive at the moment."""
    forbidden: bool = False
    """The worker has no permission to watch this location."""


class Runtime(Protocol):
    """Where Jobs run. Every method may be called from any thread.

    Each raises RuntimeUnavailable when the cluster or engine is down or overloaded.
    """

    owner: str
    """Owner of all Jobs here, without spaces. It is part of each claim, so that no other owner
    touches the run. Workers that see the same Jobs have the same owner."""

    def is_of_predecessor(self, owner: str) -> bool:
        """Whether Jobs of this owner were in the reach of one worker only: if that is gone and has
        come back here, no other one reports their end."""

    def start(self, spec: JobSpec) -> Job:
        """Creates the Job, or returns the existing one of this attempt.

        Raises StartFailed if the Job cannot be created from this spec.
        """

    def delete(self, job: Job) -> None:
        """Ends the Job and everything that belongs to it. A Job that is gone is no error."""

    def clean_up(self, spec: JobSpec) -> None:
        """Removes leftovers of a `start` whose Job does not exist and will not be created.

        If the cluster or engine is unavailable, they are removed later.
        """

    def sweep(self, needed: Collection[str]) -> None:
        """Removes what starts have left whose Jobs will never come.

        `needed`: the attempts that have a Job or may still get one. What is so new that its attempt
        may not be known yet is kept. Best effort: what cannot be removed now is left for the next
        call.
        """

    def finish_setup(self, job: Job) -> None:
        """Completes what `start` may not have done because its worker died."""

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """Returns the last lines that the Job printed; empty if there are none to be had."""

    def find(self, attempt: str, spec: JobSpec | None = None, pid: str = "") -> Job | None:
        """Looks for the Job of an attempt in the runtime itself, not in memory.

        `pid` says where the Job was created; without one, `spec` says where it should be. That
        location is watched from then on, and all other known ones are searched, too. Returns None
        if there is no such Job or it is gone. Raises LocationRefused if that location may not be
        read; StartFailed if there is no `pid` and the spec names no location.
        """

    def watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        """Emits all Jobs of the pool, then every change, until cancelled.

        Never returns earlier, and never raises for a failure of the cluster or engine: it lists
        again after a back-off.
        """

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """Returns the state of `watch`, one entry per location."""


class Leadership(Protocol):
    """Leader election among workers with the same owner. The leader observes Jobs and reports; all
    workers claim runs and create Jobs."""

    @property
    def is_leader(self) -> bool:
        """Whether this worker is the leader at the moment."""

    def campaign(self, cancellation: CancellationToken) -> None:
        """Tries to become and stay leader until cancelled, then resignss."""


class NoLeaderElection:
    """Leadership of a worker that has no replicas."""

    @property
    def is_leader(self) -> bool:
        """Always true."""
        return True

    def campaign(self, cancellation: CancellationToken) -> None:
        """Returns at once."""
