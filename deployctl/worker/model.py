"""The two sides that a worker compares, and what it can do about a difference.

All times are seconds of the epoch by the server's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeAlias

from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.model import JobSpec, Limits

NO_LIMITS = Limits()


class Phase(StrEnum):
    """How far a job has come."""

    WAITING = "waiting"
    """Nothing of it runs yet, or not any more, and it is not over."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will run again."""
        return self in (Phase.SUCCEEDED, Phase.FAILED)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a job waits or failed, in words for the owner of the flow."""

    code: str
    """`ImagePull`, `OutOfMemory`, …: stable, for metrics and events."""
    message: str
    """One sentence, without a full stop at its end."""
    help: str = ""
    """The way out, as a sentence of its own."""
    stuck: bool = False
    """A job that waits for this will not start by itself."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker keeps in memory of a job."""

    run: str
    attempt: str
    name: str
    location: str
    """Where in its runtime: `namespace` or `cluster/namespace`; opaque outside the runtime."""
    pid: str
    """What the server is told as the run's infrastructure_pid."""
    worker: str
    """The name of the worker that created it."""
    phase: Phase
    since: float
    """When it came into this phase."""
    started: bool = False
    """Some of it has run, so that its run may have begun."""
    cause: Cause | None = None
    limits: Limits = NO_LIMITS
    deleting: bool = False
    """Its deletion is under way."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that a worker keeps in memory of a flow run."""

    id: str
    name: str
    """Of a run with an attempt: what it was called when it was claimed."""
    state_id: str
    type: str
    """SCHEDULED, PENDING, RUNNING, CANCELLING, CANCELLED, COMPLETED, FAILED, CRASHED, PAUSED."""
    state_name: str
    since: float
    """When it came into this state."""
    deployment: str
    flow: str
    pid: str = ""
    """infrastructure_pid."""
    attempt: str = ""
    """The claim of ours that it runs under; "" while that is unknown, or somebody else's."""
    foreign: bool = False
    """It is known that the claim is not ours."""


class StartFailed(DeployctlError):
    """A job could not be created, and trying again would not help: the reason is for the owner."""

    code = "DC601"

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message, help=cause.help or None)
        self.cause = cause


class RuntimeUnavailable(DeployctlError):
    """The runtime cannot be asked at the moment; the same question later may be answered."""

    code = "DC602"


@dataclass(frozen=True, slots=True)
class JobChanged:
    """A job is there, or has changed."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobVanished:
    """The job of this attempt is not there any more."""

    attempt: str


@dataclass(frozen=True, slots=True)
class JobsListed:
    """All jobs of a place; what is not among them is gone, unless it was made since `begun`."""

    location: str
    jobs: tuple[Job, ...]
    requested_at: float = field(compare=False)
    """When the list was asked for, by `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class LinePrinted:
    """A line that a job printed, for jobs whose `limits.stream_output` is set."""

    attempt: str
    line: str


@dataclass(frozen=True, slots=True)
class EventObserved:
    """Something about a job that the server keeps as an event (3.x): the body of `POST /events`."""

    attempt: str
    event: Mapping[str, Json] = field(hash=False)


RuntimeUpdate: TypeAlias = JobChanged | JobVanished | JobsListed | LinePrinted | EventObserved
Emit: TypeAlias = Callable[[RuntimeUpdate], None]
"""Takes news from any thread and returns at once; only a printed line waits for its reader."""


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """How well a runtime hears of changes in one of its places."""

    location: str
    last_contact: float
    """When the last list, event or bookmark came."""
    problem: str = ""
    """Why it hears nothing at the moment."""
    forbidden: bool = False
    """The other side does not let the worker look there."""


class Runtime(Protocol):
    """Where jobs run. Every method may be called from any thread.

    Each raises NotNow when the other side is down or overloaded.
    """

    owner: str
    """Who answers for jobs here, without spaces: goes into each claim, so that nobody else touches
    them. Two workers that see the same jobs have the same owner."""

    def start(self, spec: JobSpec) -> Job:
        """Creates the job, or gives the one of this attempt that is there already.

        Raises StartFailed when the job cannot be created as described.
        """

    def stop(self, job: Job) -> None:
        """Ends the job and all that belongs to it; a job that is gone is fine."""

    def clean_up(self, spec: JobSpec) -> None:
        """Removes what `start` may have left of a job that is not there and is not to come; at
        once, or when the other side answers again."""

    def finish_setup(self, job: Job) -> None:
        """Completes what `start` may have left undone when its worker died."""

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines that the job printed; empty where there are none to be had."""

    def find(self, attempt: str, spec: JobSpec | None = None, pid: str = "") -> Job | None:
        """Looks for a job where it would be, not into memory; from then on, the place is watched.

        Without a description, that is where the server was told (`pid`), and wherever there are
        jobs. None: there is no such job, or none any more. Raises StartFailed where the description
        names no place.
        """

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        """Tells of all jobs of the pool, then of every change, until asked to stop.

        Never ends by itself and never raises for what the other side does: it lists again, with
        patience.
        """

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """How well `watch` is doing, a line for each place."""


class Leadership(Protocol):
    """Which of several workers with the same owner observes; all of them submit."""

    @property
    def is_leader(self) -> bool:
        """Whether this worker observes at the moment."""

    def campaign(self, stop: CancellationToken) -> None:
        """Tries to lead until asked to stop, and then gives the lead up."""


class NoLeaderElection:
    """The leadership of a worker that has nobody beside it."""

    @property
    def is_leader(self) -> bool:
        """Always."""
        return True

    def campaign(self, stop: CancellationToken) -> None:
        """There is nothing to win."""
