"""Carries out actions, one at a time per run, in the threads of a pool.

Findings go back to the reconciler as changes of the state store, so only its thread changes that.
An error concerns one run: the run backs off and is decided on again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from deployctl.api import states
from deployctl.core.errors import DeployctlError, NotFound
from deployctl.jobs.model import InvalidJobSpec, JobSpec
from deployctl.worker.control import actions
from deployctl.worker.control.decide import CANCELLED, crashed
from deployctl.worker.control.outcomes import Outcome, OutcomeCode, not_started, vanished
from deployctl.worker.control.reports import ReportDelay, ReportJob
from deployctl.worker.control.server_actions import ServerActions, delay_field
from deployctl.worker.error_kinds import error_kind, log_internal_error
from deployctl.worker.event_log import EventName, Level
from deployctl.worker.model import (
    Job,
    LocationRefused,
    Run,
    RuntimeUnavailable,
    StartFailed,
)
from deployctl.worker.server.claims import (
    Answer,
    Proposal,
    propose,
)
from deployctl.worker.server.runs import read_run, resolve_claim, was_scheduled_by_user

_FAILURE_EVENTS: Mapping[type[actions.Action], EventName] = {
    actions.Claim: EventName.RUN_CLAIM_FAILED,
    actions.Start: EventName.RUN_START_FAILED,
    actions.ResolveClaim: EventName.RUN_RESOLVE_FAILED,
    actions.FindJob: EventName.RUN_CHECK_FAILED,
    actions.FinishSetup: EventName.RUN_SETUP_FAILED,
    ReportJob: EventName.RUN_SETUP_FAILED,
    ReportDelay: EventName.REPORT_FAILED,
    actions.DeleteJob: EventName.RUN_DELETE_FAILED,
    actions.ConfirmMissing: EventName.RUN_CHECK_FAILED,
    actions.CleanUpStart: EventName.RUN_CLEANUP_FAILED,
    actions.ReportFinalState: EventName.RUN_REPORT_FAILED,
}
_STATE_EVENTS = {
    states.CRASHED: EventName.RUN_CRASHED,
    states.CANCELLED: EventName.RUN_CANCELLED,
}


class JobSpecSource(Protocol):
    """Builds the spec of a claimed run's Job from what the server has."""

    def __call__(self, run: Run) -> JobSpec:
        """Raises NotFound if the deployment or flow is gone, InvalidJobSpec for a bad one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionExecutor(ServerActions):
    """Executes actions of `decide`. May be used by many threads."""

    build_spec: JobSpecSource
    crash_log_lines: int
    _not_found: dict[str, str] = field(default_factory=dict)
    """Run → the NotFound of its last start. The same twice in a row ends the run; once, it may come
    from a server that is being rolled out."""

    def execute(self, action: actions.Action, failures: int) -> None:
        """Carries out an action; `failures`: failed actions of this run so far.

        Raises nothing: after an error the run backs off.
        """
        try:
            self._execute(action, failures)
        except DeployctlError as error:
            self._back_off(action, error, str(error), self._retry_wait(failures))
        except Exception as error:
            event = _FAILURE_EVENTS[type(action)]
            log_internal_error(self.event_log, error, f"the action of '{event}'")
            message = f"{type(error).__name__}: {error}"
            self._back_off(action, error, message, self.timings.retry_max)

    def _execute(self, action: actions.Action, failures: int) -> None:
        match action:
            case actions.Claim(run, fresh):
                self._claim(run, fresh, failures)
            case actions.Start(run, fresh):
                self._start(run, fresh, failures)
            case actions.ResolveClaim(run):
                self._resolve_claim(run)
            case actions.FindJob(run):
                self._find_left_job(run)
            case actions.FinishSetup(run, job):
                self.runtime.finish_setup(job)
                self._add_job(run, job)
            case ReportJob(run, job):
                self._report_job(run, job, failures)
            case ReportDelay(run):
                self._report_delay(run)
            case actions.DeleteJob(job, run, final_state):
                self._delete_job(job, run, final_state)
            case actions.ConfirmMissing(run, missing):
                self._confirm_missing(run, missing, failures)
            case actions.CleanUpStart(run):
                self._clean_up_start(run, failures)
            case actions.ReportFinalState(run, proposal, job):
                self._report(run, proposal, job, failures)

    def _back_off(
        self, action: actions.Action, error: Exception, message: str, wait: float
    ) -> None:
        run_id = actions.run_id_of(action)
        defect = not isinstance(error, DeployctlError)
        self.event_log.emit(
            Level.ERROR if defect else Level.WARNING,
            _FAILURE_EVENTS[type(action)],
            message,
            run=run_id,
            name=action.run.name if action.run else None,
            wait=wait,
            error=error_kind(error),
        )
        until = self.session.server_clock() + wait
        self.notify(lambda store: store.back_off(run_id, until))

    def _start(self, run: Run, fresh: bool, failures: int) -> None:
        retried = failures > 0 or not fresh
        if retried and (not self._is_unchanged(run) or self._hand_back_ended(run)):
            return
        try:
            spec = self.build_spec(run)
            job = self._adopt(spec) if retried else None
            job = job or self.runtime.start(spec)
        except InvalidJobSpec as error:
            text = f"No job can be built for this run: {error}."
            self._propose(run, _crashed(OutcomeCode.INVALID_JOB_SPEC, text), failures)
        except StartFailed as error:
            if self.session.server_clock() - run.since < error.retry_for:
                if not failures:
                    self.reporter.log_cause(run, error.cause)
                raise RuntimeUnavailable(error.message, help=error.help) from error
            self._propose(run, crashed(not_started(error.cause)), failures)
            if error.retry_for:
                self._remove_leftovers(run)
        except NotFound as error:
            if self._not_found.pop(run.id, "") != str(error):
                self._not_found[run.id] = str(error)
                raise
            text = f"The run cannot be started: {error}."
            self._propose(run, _crashed(OutcomeCode.NOT_FOUND, text), failures)
        else:
            self._not_found.pop(run.id, None)
            self._add_job(run, job, run.since_claim(self.session.server_clock()))

    def _adopt(self, spec: JobSpec) -> Job | None:
        """Returns the Job that another worker or an earlier try has created, if there is one.

        If its location may not be read, the creation says why, or finds the Job.
        """
        job = None
        with suppress(LocationRefused):
            job = self.runtime.find(spec.attempt, spec)
        if job is not None:
            self.runtime.finish_setup(job)
        return job

    def _find_job(self, run: Run) -> Job | None:
        """Returns a run's Job, also if no spec can be built any more, or another one, because its
        pool or deployment has changed.
        """
        spec = None
        with suppress(InvalidJobSpec, StartFailed, NotFound):
            spec = self.build_spec(run)
        try:
            return self.runtime.find(run.attempt, spec, run.pid)
        except StartFailed:
            return self.runtime.find(run.attempt, pid=run.pid)

    def _add_job(self, run: Run, job: Job, delay: float | None = None) -> None:
        """Notes a Job that exists; what the server does not know about it is reported later.

        `delay`: seconds from the claim to the Job, if this process has created it.
        """
        self.notify(lambda store: store.add_unreported(run, job))
        text = f"'{run.name}' runs as job '{job.name}'"
        self._log(EventName.RUN_SUBMITTED, text, run, job=job.name, **delay_field(delay))
        self.reporter.job_submitted(run, job)

    def _resolve_claim(self, run: Run) -> None:
        known = self._call(resolve_claim(run, self.runtime.owner))
        with suppress(LocationRefused):
            if not known.foreign:
                self._note_found(known.attempt, self._find_job(known))
        self.notify(lambda store: store.refresh_run(known))

    def _find_left_job(self, run: Run) -> None:
        self._note_found(run.attempt, self.runtime.find(run.attempt))

    def _note_found(self, attempt: str, job: Job | None) -> None:
        """Notes what a search for the Job of an attempt has found."""
        if job is not None:
            self.notify(lambda store: store.add_job(job))
        else:
            self.notify(lambda store: store.claims.mark_missing(attempt))

    def _confirm_missing(self, run: Run, missing: float, failures: int) -> None:
        if not self._is_unchanged(run):
            return
        if run.type == states.PENDING and self._hand_back_ended(run):
            return
        reason = ""
        try:
            job = self._find_job(run)
        except LocationRefused as error:
            if missing < self.timings.unreadable_after:
                raise
            job, reason = None, error.message
        if job is not None:
            self.notify(lambda store: store.add_job(job))
        else:
            self._propose(run, crashed(vanished(run, reason)), failures)

    def _delete_job(self, job: Job, run: Run | None, final_state: Proposal | None) -> None:
        if run is not None and not self._is_unchanged(run):
            return
        if run is not None and final_state is not None:
            self._log_last_lines(run, job)
        self.runtime.delete(job)
        text = f"deleting job '{job.name}'"
        name = run.name if run else None
        self.event_log.emit(
            Level.INFO, EventName.JOB_DELETED, text, run=job.run, name=name, job=job.name
        )
        self.notify(lambda store: store.mark_deleting(job, final_state))

    def _clean_up_start(self, run: Run, failures: int) -> None:
        """Cancels a run without a Job, whether or not its leftovers can be removed."""
        if not self._is_unchanged(run):
            return
        self._remove_leftovers(run)
        self._propose(run, CANCELLED, failures)

    def _remove_leftovers(self, run: Run) -> None:
        with suppress(InvalidJobSpec, StartFailed, NotFound, RuntimeUnavailable):
            self.runtime.clean_up(self.build_spec(run))

    def _report(self, run: Run, proposal: Proposal, job: Job | None, failures: int) -> None:
        if not self._is_unchanged(run):
            return
        if run.type == states.SCHEDULED and self._call(was_scheduled_by_user(run)):
            self.notify(lambda store: store.endings.drop(run.id))
        elif self._propose(run, proposal, failures) and job is not None:
            self._log_last_lines(run, job)

    def _propose(self, run: Run, proposal: Proposal, failures: int) -> bool:
        """Proposes a state; returns whether the server accepted it.

        After a refusal the run backs off: whatever refuses it may do so again at once.
        """
        result = self._call(propose(run, proposal, self._transition(run, proposal.type)))
        accepted = result.answer is Answer.ACCEPTED
        if accepted:
            level = Level.ERROR if proposal.type == states.CRASHED else Level.INFO
            self.reporter.log(run, level, proposal.message)
            self.event_log.emit(
                level,
                _STATE_EVENTS[proposal.type],
                proposal.message,
                run=run.id,
                name=run.name,
                cause=proposal.cause,
            )
        if result.answer is Answer.GONE:
            self.notify(lambda store: store.forget_run(run.id))
        else:
            known = run if accepted else replace(run, attempt="")
            final = result.apply_to(known)
            self.notify(lambda store: store.refresh_run(final, end_reported=accepted))
        if result.answer in (Answer.REJECTED, Answer.LATER):
            until = self.session.server_clock() + self._retry_wait(failures)
            self.notify(lambda store: store.back_off(run.id, until))
        return accepted

    def _log_last_lines(self, run: Run, job: Job) -> None:
        """Copies the last lines of a Job that could not finish its run into the run's log."""
        if not self.crash_log_lines:
            return
        try:
            lines: Sequence[str] = self.runtime.tail_logs(job, self.crash_log_lines)
        except DeployctlError:
            return
        if lines:
            text = "\n".join(lines)
            self.reporter.log(run, Level.ERROR, f"The last lines of job '{job.name}':\n{text}")

    def _is_unchanged(self, run: Run) -> bool:
        """Reads the run again; returns whether its state and claim are those that were decided on.

        What was decided for one attempt must never affect the next, and only the claim itself
        carries the marker.
        """
        now = self._call(read_run(run.id, self.runtime.owner))
        if now is None:
            self.notify(lambda store: store.forget_run(run.id))
            return False
        if now.type == run.type and not now.attempt and not now.foreign:
            now = self._call(resolve_claim(now, self.runtime.owner))
        self.notify(lambda store: store.refresh_run(now))
        return _decided_on(now) == _decided_on(run)


def _decided_on(run: Run) -> tuple[str, str, bool, str, bool]:
    """The state and the claim of a run."""
    return run.type, run.attempt, run.foreign, run.claim_owner, run.in_process


def _crashed(code: OutcomeCode, message: str) -> Proposal:
    return crashed(Outcome(code, message))
