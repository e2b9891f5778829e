"""Actions of a worker: what `decide` returns and the executor carries out.

Every action is bound to the state that it was decided on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from deployctl.worker.control.reports import Report
from deployctl.worker.model import Job, Run
from deployctl.worker.server.claims import Proposal


@dataclass(frozen=True, slots=True)
class Claim:
    """Claims a scheduled run."""

    run: Run
    fresh: bool
    """The server offered it within `offer_ttl` and it never had a Job. Otherwise the run is read
    again before the claim."""


@dataclass(frozen=True, slots=True)
class Start:
    """Creates the Job of a claimed run; the attempt names the Job."""

    run: Run
    fresh: bool
    """The claim is this process's own. Otherwise, and after a failed try, the run is read again
    first: an earlier try may have created a Job that is over and gone."""


@dataclass(frozen=True, slots=True)
class ResolveClaim:
    """Finds out whose claim a run is under, and looks for its Job."""

    run: Run


@dataclass(frozen=True, slots=True)
class FindJob:
    """Looks for the Job of an own claim that its run has left: it takes a slot if it exists."""

    run: Run
    """As it was under that claim."""


@dataclass(frozen=True, slots=True)
class FinishSetup:
    """Reports a Job to the server whose worker died before it could."""

    run: Run
    job: Job


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Deletes a Job; `final_state` is proposed for its run once the Job is gone."""

    job: Job
    run: Run | None = None
    final_state: Proposal | None = None


@dataclass(frozen=True, slots=True)
class ConfirmMissing:
    """Looks for the Job of a run in the runtime, and reports it as vanished if it is not there."""

    run: Run
    missing: float = 0.0
    """For how many seconds it has been missing."""


@dataclass(frozen=True, slots=True)
class CleanUpStart:
    """Removes what an unfinished start left behind for a cancelled run, then reports CANCELLED."""

    run: Run


@dataclass(frozen=True, slots=True)
class ReportFinalState:
    """Reports the final state of a run to the server."""

    run: Run
    proposal: Proposal
    job: Job | None = None
    """The Job whose last lines go into the run's log."""


Action: TypeAlias = (
    Claim
    | Start
    | ResolveClaim
    | FindJob
    | FinishSetup
    | Report
    | DeleteJob
    | ConfirmMissing
    | CleanUpStart
    | ReportFinalState
)


def run_id_of(action: Action) -> str:
    """Returns the id of the run that an action is about."""
    return action.job.run if isinstance(action, DeleteJob) else action.run.id
