"""Carries out what was decided, one action at a time, in any thread.

Whatever an action finds out goes back as an update of the table, so only one thread changes that.
An error belongs to its run alone: the run is left alone for a while and then decided on again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, TypeVar

from deployctl.api.calls import ApiCall
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.api.states import FINAL
from deployctl.core.errors import DeployctlError, NotFound
from deployctl.core.json_values import Json
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.control import decide
from deployctl.worker.control.outcomes import VANISHED, Outcome, not_started
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Job, Run, Runtime, RuntimeUnavailable, RuntimeUpdate, StartFailed
from deployctl.worker.server.claims import (
    Answer,
    Proposal,
    ProposalResult,
    claim,
    hand_back,
    propose,
)
from deployctl.worker.server.run_fields import tell_pid
from deployctl.worker.server.run_reporter import RunReporter
from deployctl.worker.server.runs import end_before_claim, one, seconds, traced

T = TypeVar("T")
Message: TypeAlias = RuntimeUpdate | Callable[[StateStore], None]
"""What was found out: news of a job, or an update of the table by the thread that owns it."""

PLACE_WAIT = 5.0
"""Seconds at most between two tries to tell where a job is: nothing else is done about its run
meanwhile, and it may crash or be cancelled."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds for which a run is left alone after a failure; they double with every further one."""


_FAILURE_EVENTS: Mapping[type[decide.Action], EventName] = {
    decide.Claim: EventName.RUN_CLAIM_FAILED,
    decide.Start: EventName.RUN_START_FAILED,
    decide.ResolveClaim: EventName.RUN_RESOLVE_FAILED,
    decide.FinishSetup: EventName.RUN_SETUP_FAILED,
    decide.DeleteJob: EventName.RUN_DELETE_FAILED,
    decide.ConfirmMissing: EventName.RUN_CHECK_FAILED,
    decide.CleanUpStart: EventName.RUN_CLEANUP_FAILED,
    decide.Report: EventName.RUN_REPORT_FAILED,
}
_STATE_EVENTS = {"CRASHED": EventName.RUN_CRASHED, "CANCELLED": EventName.RUN_CANCELLED}


class JobSpecSource(Protocol):
    """Makes the description of a claimed run's job from what the server has."""

    def __call__(self, run: Run) -> JobSpec:
        """Raises NotFound where its deployment is gone, and what `jobs` raises for a bad one."""


@dataclass(frozen=True, slots=True)
class ActionExecutor:
    """All that is needed to carry actions out."""

    session: Session
    runtime: Runtime
    describe: JobSpecSource
    chronicle: RunReporter
    event_log: EventLog
    emit: Callable[[Message], None]
    """Tells the owner of the table what was found out; also before the action has ended."""
    worker: str
    crash_log_lines: int
    salt: uuid.UUID = field(default_factory=uuid.uuid4)
    """Makes the ids of this process's claims: a claim whose answer was lost for good is asked
    again with the same id, and no other process has it."""
    _missed: dict[str, str] = field(default_factory=dict)
    """By run, what was not there when its job was described last: said twice in a row, it ends the
    run; once, it may come from a server that is being rolled out."""

    def do(self, action: decide.Action, failures: int) -> None:
        """Carries an action out; `failures` is how often something about this run failed before.

        Raises nothing: what goes wrong leaves the run alone for a while.
        """
        try:
            self._act(action, failures)
        except DeployctlError as error:
            self._leave_alone(action, error, _patience(failures))
        except Exception as error:
            self._leave_alone(action, error, LONGEST_WAIT)

    def _act(self, action: decide.Action, failures: int) -> None:
        match action:
            case decide.Claim(run, fresh):
                self._claim(run, fresh)
            case decide.Start(run, fresh):
                self._start(run, fresh, failures)
            case decide.ResolveClaim(run):
                self._trace(run)
            case decide.FinishSetup(run, job):
                self.runtime.finish_setup(job)
                self._tell_place(run, job, failures)
                if not failures:
                    self._tell_submitted(run, job)
            case decide.DeleteJob(job, run, final_state):
                self._remove(job, run, final_state)
            case decide.ConfirmMissing(run):
                self._search(run)
            case decide.CleanUpStart(run):
                self._abandon(run)
            case decide.Report(run, proposal, job):
                self._report(run, proposal, job)

    def _leave_alone(self, action: decide.Action, error: Exception, wait: float) -> None:
        run = action.run
        run_id = run.id if run else action.job.run if isinstance(action, decide.DeleteJob) else ""
        kind = type(error).__name__
        defect = "" if isinstance(error, DeployctlError) else kind
        self.event_log.emit(
            Level.ERROR if defect else Level.WARNING,
            _FAILURE_EVENTS[type(action)],
            f"{defect}: {error}" if defect else str(error),
            run=run_id,
            name=run.name if run else None,
            wait=wait,
            error=kind,
        )
        until = self.session.server_clock() + wait
        self.emit(lambda table: table.pause(run_id, until))

    def _claim(self, run: Run, fresh: bool) -> None:
        if not fresh and not self._may_be_claimed(run):
            self.emit(lambda table: table.withdraw(run.id))
            return
        transition = str(uuid.uuid5(self.salt, run.state_id))
        verdict = self._hold(claim(run, self.runtime.owner, self.worker, transition))
        if verdict.answer is Answer.ACCEPTED:
            claimed = _moved(replace(run, attempt=verdict.state["id"], pid=""), verdict)
            if self._was_over(claimed):
                self.emit(lambda table: table.withdraw(run.id))
                return
            self._say(EventName.RUN_CLAIMED, f"claimed '{run.name}'", run)
            self.emit(lambda table: table.claimed(claimed))
        else:
            self._say(
                EventName.RUN_CLAIM_REJECTED, f"'{run.name}' is not ours: {verdict.reason}", run
            )
            self.emit(lambda table: table.withdraw(run.id))

    def _was_over(self, run: Run) -> bool:
        """Whether a claim has hit a run that had ended; such a run is handed back."""
        end = self._hold(end_before_claim(run))
        if end is None:
            return False
        self._hold(hand_back(run, end, str(uuid.uuid4())))
        self._say(EventName.RUN_HANDED_BACK, f"'{run.name}' had ended before it was claimed", run)
        return True

    def _may_be_claimed(self, run: Run) -> bool:
        """Looks at a run that may have ended since it was offered, and lets the server forget the
        job of an earlier attempt: whoever finds this claim must not take that job for its own."""
        now = self._hold(one(run.id, self.runtime.owner))
        if now is None or now.type in FINAL:
            return False
        if now.pid and now.type == "SCHEDULED" and (error := self._hold(tell_pid(now, ""))):
            raise error
        return True

    def _start(self, run: Run, fresh: bool, failures: int) -> None:
        again = failures > 0 or not fresh
        if again and (not self._is_still(run) or self._was_over(run)):
            return
        try:
            spec = self.describe(run)
            job = self._adopted(spec) if again else None
            job = job or self.runtime.start(spec)
        except InvalidJobSpec as failed:
            self._propose(
                run, _crashed("InvalidJobSpec", f"The job cannot be described: {failed}.")
            )
        except StartFailed as failed:
            self._propose(run, decide.crashed(not_started(failed.cause)))
        except NotFound as missing:
            if self._missed.pop(run.id, "") != str(missing):
                self._missed[run.id] = str(missing)
                raise
            self._propose(run, _crashed("Missing", f"The run cannot be started: {missing}."))
        else:
            self._missed.pop(run.id, None)
            self.emit(lambda table: table.created(job))
            self._tell_place(run, job, failures)
            self._tell_submitted(run, job)

    def _adopted(self, spec: JobSpec) -> Job | None:
        """The job that somebody else, or an earlier try, has created already."""
        job = self.runtime.find(spec.attempt, spec)
        if job is not None:
            self.runtime.finish_setup(job)
        return job

    def _found(self, run: Run) -> Job | None:
        """The job of a run, also if its pool or deployment has changed so that it cannot be
        described any more."""
        with suppress(InvalidJobSpec, StartFailed, NotFound):
            return self.runtime.find(run.attempt, self.describe(run))
        return self.runtime.find(run.attempt, pid=run.pid)

    def _tell_submitted(self, run: Run, job: Job) -> None:
        self._say(
            EventName.RUN_SUBMITTED, f"'{run.name}' has the job '{job.name}'", run, job=job.name
        )
        self.chronicle.submitted(run, job)

    def _tell_place(self, run: Run, job: Job, failures: int) -> None:
        """Tells the server where the job is; that can wait, and is said again with patience."""
        if self.chronicle.located(run, job):
            self.emit(lambda table: table.settled(run.id, job))
        else:
            until = self.session.server_clock() + min(_patience(failures), PLACE_WAIT)
            self.emit(lambda table: table.pause(run.id, until))

    def _trace(self, run: Run) -> None:
        known = self._hold(traced(run, self.runtime.owner))
        if not known.foreign and (job := self._found(known)):
            self.emit(lambda table: table.created(job))
        self.emit(lambda table: table.know(known))

    def _search(self, run: Run) -> None:
        if not self._is_still(run) or (run.type == "PENDING" and self._was_over(run)):
            return
        if job := self._found(run):
            self.emit(lambda table: table.created(job))
        else:
            self._propose(run, _crashed("Vanished", VANISHED))

    def _remove(self, job: Job, run: Run | None, final_state: Proposal | None) -> None:
        if run is not None and not self._is_still(run):
            return
        if run is not None and final_state is not None:
            self._send_log(run, job)
        self.runtime.stop(job)
        text = f"deleting job '{job.name}'"
        self.event_log.emit(Level.INFO, EventName.JOB_DELETED, text, run=job.run, job=job.name)
        self.emit(lambda table: table.removed(job, final_state))

    def _abandon(self, run: Run) -> None:
        """A run is cancelled whatever becomes of what its start has left."""
        if not self._is_still(run):
            return
        with suppress(InvalidJobSpec, StartFailed, NotFound, RuntimeUnavailable):
            self.runtime.clean_up(self.describe(run))
        self._propose(run, decide.CANCELLED)

    def _report(self, run: Run, proposal: Proposal, job: Job | None) -> None:
        if not self._is_still(run):
            return
        if self._propose(run, proposal) and job is not None:
            self._send_log(run, job)

    def _propose(self, run: Run, proposal: Proposal) -> bool:
        verdict = self._hold(propose(run, proposal, str(uuid.uuid4())))
        accepted = verdict.answer is Answer.ACCEPTED
        if accepted:
            level = Level.ERROR if proposal.type == "CRASHED" else Level.INFO
            self.chronicle.say(run, level, proposal.message)
            self.event_log.emit(
                level,
                _STATE_EVENTS[proposal.type],
                proposal.message,
                run=run.id,
                name=run.name,
                cause=proposal.cause,
            )
        if verdict.answer is Answer.GONE:
            self.emit(lambda table: table.forget(run.id))
        else:
            known = run if accepted else replace(run, attempt="")
            self.emit(lambda table: table.know(_moved(known, verdict)))
        return accepted

    def _send_log(self, run: Run, job: Job) -> None:
        """The last lines of a job that could not end its run, in the run's log: best effort."""
        if not self.crash_log_lines:
            return
        try:
            lines: Sequence[str] = self.runtime.tail_logs(job, self.crash_log_lines)
        except DeployctlError:
            return
        if lines:
            text = "\n".join(lines)
            self.chronicle.say(run, Level.ERROR, f"The last lines of job '{job.name}':\n{text}")

    def _is_still(self, run: Run) -> bool:
        """Reads the run again: whether it is in the state that was decided on, and the same claim.

        What is decided for one attempt must never hit the next, and only a claim carries the mark.
        """
        now = self._hold(one(run.id, self.runtime.owner))
        if now is None:
            self.emit(lambda table: table.forget(run.id))
            return False
        if now.type == run.type and not now.attempt and not now.foreign:
            now = self._hold(traced(now, self.runtime.owner))
        self.emit(lambda table: table.know(now))
        kept = (run.type, run.attempt, run.foreign)
        return (now.type, now.attempt, now.foreign) == kept

    def _say(self, event: EventName, message: str, run: Run, **facts: Json) -> None:
        self.event_log.emit(Level.INFO, event, message, run=run.id, name=run.name, **facts)

    def _hold(self, talk: ApiCall[T]) -> T:
        return run_inline(talk, self.session)


def _crashed(code: str, message: str) -> Proposal:
    return decide.crashed(Outcome(code, message))


def _patience(failures: int) -> float:
    """Seconds until the next try; a failure of days must not become a number without end."""
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(failures, 10)))


def _moved(run: Run, verdict: ProposalResult) -> Run:
    """The run in the state that the server's answer gives it."""
    state: Json = verdict.state
    if not state:
        return run
    return replace(
        run,
        state_id=state.get("id") or run.state_id,
        type=state["type"],
        state_name=state.get("name") or "",
        since=seconds(state.get("timestamp")),
    )
