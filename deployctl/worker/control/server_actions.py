"""Actions that concern the server alone: claims of runs, and reports about Jobs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from deployctl.api import states
from deployctl.api.calls import ApiCall
from deployctl.api.driver import run_inline
from deployctl.api.session import Session
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.worker.control.slot_waits import SLOT_STATE
from deployctl.worker.control.state_store import StateStore
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.model import Job, Run, Runtime, RuntimeUpdate
from deployctl.worker.server.claims import Answer, ProposalResult, claim, hand_back
from deployctl.worker.server.run_reporter import RunReporter, set_pid
from deployctl.worker.server.runs import end_before_claim, read_run, resolve_claim
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")
Message: TypeAlias = RuntimeUpdate | Callable[[StateStore], None]
"""An update of the runtime, or a change that the owner of the store applies to it."""

_COMPLETED_STAYS_SINCE = (3, 9, 4)
"""First server that moves no completed run to PENDING (#23962 of PrefectHQ/prefect)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerActions:
    """Claims runs and reports Jobs. May be used by many threads."""

    session: Session
    runtime: Runtime
    reporter: RunReporter
    event_log: EventLog
    notify: Callable[[Message], None]
    """Sends a finding to the owner of the store, also before the action has ended."""
    worker: str
    timings: Timings = DEFAULT_TIMINGS
    clock: Callable[[], float] = time.monotonic
    salt: uuid.UUID = field(default_factory=uuid.uuid4)
    """Makes the transition ids of this process's proposals: one whose answer was lost is sent again
    under the same id, and no other process uses that id."""

    def _claim(self, run: Run, fresh: bool, failures: int) -> None:
        fresh = fresh and not failures
        if not fresh and not self._may_be_claimed(run, failures):
            self.notify(lambda store: store.withdraw_offer(run.id))
            return
        transition, began = str(uuid.uuid5(self.salt, run.state_id)), self.clock()
        result = self._call(claim(run, self.runtime.owner, self.worker, transition))
        if result.answer is not Answer.ACCEPTED:
            self._give_up_claim(run, result)
            return
        claimed = replace(run, attempt=result.state["id"], pid="", claimed_at=time.monotonic())
        claimed = result.apply_to(claimed)
        quick = fresh and self.clock() - began < self.timings.offer_ttl / 2
        if not (quick and self._completed_stays()) and self._hand_back_ended(claimed):
            self.notify(lambda store: store.withdraw_offer(run.id))
            return
        delay = max(0.0, self.session.server_clock() - run.due) if run.due else None
        self._log(EventName.RUN_CLAIMED, f"claimed '{run.name}'", run, **delay_field(delay))
        self.notify(lambda store: store.add_claim(claimed))

    def _give_up_claim(self, run: Run, result: ProposalResult) -> None:
        """Leaves a run whose claim was refused; runs without a slot are logged in a summary."""
        waits = result.answer is Answer.LATER and (result.state or {}).get("name") == SLOT_STATE
        self.event_log.emit(
            Level.DEBUG if waits else Level.INFO,
            EventName.RUN_CLAIM_REJECTED,
            f"claim of '{run.name}' rejected: {result.reason}",
            run=run.id,
            name=run.name,
        )
        now = self.session.server_clock()
        has_ended = (result.state or {}).get("type") in states.FINAL

        def withdraw(store: StateStore) -> None:
            store.withdraw_offer(run.id, waits_for_slot=result.answer is Answer.LATER)
            if waits:
                store.slot_waits.refuse(run, now)
            if result.answer is Answer.REJECTED and not has_ended:
                store.claim_order.lose(store.clock())

        self.notify(withdraw)

    def _completed_stays(self) -> bool:
        """Whether the server lets no completed run be claimed. It takes longer than a quick claim
        until a run is claimed elsewhere and ends in any other way."""
        return self.reporter.dialect.version >= _COMPLETED_STAYS_SINCE

    def _hand_back_ended(self, run: Run) -> bool:
        """Restores the final state of a run that had ended before its claim; False if none had."""
        end = self._call(end_before_claim(run))
        if end is None:
            return False
        self._call(hand_back(run, end, self._transition(run, "handed back")))
        self._log(EventName.RUN_HANDED_BACK, f"'{run.name}' had ended before it was claimed", run)
        return True

    def _may_be_claimed(self, run: Run, failures: int) -> bool:
        """Reads a run that may have ended since it was offered; returns whether to claim it.

        One that is not scheduled any more has another claim. Only after a failure that may be ours.

        Clears the location of an earlier attempt's Job: a worker that finds the new claim must not
        adopt that Job.
        """
        now = self._call(read_run(run.id, self.runtime.owner))
        if now is None or now.type in states.FINAL:
            return False
        if now.type != states.SCHEDULED and not failures:
            self.notify(lambda store: store.claim_order.lose(store.clock()))
            return False
        if now.pid and now.type == states.SCHEDULED and (error := self._call(set_pid(now, ""))):
            raise error
        return True

    def _report_job(self, run: Run, job: Job, failures: int) -> None:
        """Stores the Job's location and labels on the server; retried if it does not take them.

        Before a retry and before a late report, the run is read: by now it may be under another
        claim, and the location of an old Job must not be taken for that of the next.
        """
        late = self.session.server_clock() - job.since >= self.timings.offer_ttl
        if (late or failures) and not self._is_under(run, job.attempt):
            self.notify(lambda store: store.reports.drop_job(run.id, job.attempt))
        elif self.reporter.report_job(run, job):
            self.notify(lambda store: store.set_pid(run.id, job))
        else:
            wait = min(self._retry_wait(failures), self.timings.location_retry_max)
            until = self.session.server_clock() + wait
            self.notify(lambda store: store.back_off(run.id, until))

    def _report_delay(self, run: Run) -> None:
        self.notify(lambda store: store.reports.drop_delay(run.id))
        self.reporter.start_delayed(run)

    def _is_under(self, run: Run, attempt: str) -> bool:
        """Reads the run again; returns whether this attempt is its last."""
        now = self._call(read_run(run.id, self.runtime.owner))
        if now is None or (now.type == states.SCHEDULED and not now.in_process):
            return False
        if not now.attempt:
            now = self._call(resolve_claim(now, self.runtime.owner))
        return now.attempt == attempt

    def _transition(self, run: Run, what: str) -> str:
        """The same transition id for each try: the server may still be at the first one."""
        return str(uuid.uuid5(self.salt, f"{run.id} {run.attempt} {what}"))

    def _retry_wait(self, failures: int) -> float:
        """Back-off in seconds; the exponent is capped because failures can go on for days."""
        backoff = Backoff(first=self.timings.retry_first, longest=self.timings.retry_max)
        return backoff.nominal_wait(failures)

    def _log(self, event: EventName, message: str, run: Run, **fields: Json) -> None:
        self.event_log.emit(Level.INFO, event, message, run=run.id, name=run.name, **fields)

    def _call(self, api_call: ApiCall[T]) -> T:
        return run_inline(api_call, self.session)


def delay_field(seconds: float | None) -> dict[str, Json]:
    """Returns the field of an event that becomes a value of a histogram."""
    return {} if seconds is None else {"delay": round(seconds, 3)}
