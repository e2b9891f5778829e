"""State proposals: claims and the final states of runs.

The server answers a proposal with ACCEPT, REJECT, WAIT or ABORT. Each proposal has a transition id,
by which the server recognises a repeated one, but only as long as the run is in the state that the
first one gave it. A claim whose answer was lost can be sent again: what may have happened meanwhile
is found out afterwards (`end_before_claim`). Any other proposal could overrule what a person has
done with the run since, so the run is read first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.states import PENDING, SCHEDULED
from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, claim_message
from deployctl.worker.server.runs import seconds


class Answer(Enum):
    """The server's answer to a proposal."""

    ACCEPTED = auto()
    REJECTED = auto()
    """The run is under another claim, or its state does not allow the transition (any more)."""
    LATER = auto()
    """The run must wait, for a concurrency slot or its start time; it will be offered again."""
    GONE = auto()
    """The run was deleted."""


@dataclass(frozen=True, slots=True)
class ProposalResult:
    """The answer to a proposal, and the state that the run is in now."""

    answer: Answer
    state: Json = None
    reason: str = ""

    def apply_to(self, run: Run) -> Run:
        """Returns the run in the state that the server answered with."""
        if not self.state:
            return run
        return replace(
            run,
            state_id=self.state.get("id") or run.state_id,
            type=self.state["type"],
            state_name=self.state.get("name") or "",
            since=seconds(self.state.get("timestamp")),
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A state proposed for a run."""

    type: str
    name: str
    message: str
    force: bool = False
    data: Json = None
    cause: str = ""
    """Code of the cause, for metrics and the event log."""


def hand_back(run: Run, end: Json, transition: str) -> ApiCall[ProposalResult]:
    """Restores the final state of a run that was claimed after it had ended."""
    proposal = Proposal(
        end["type"], end["name"], end.get("message") or "", force=True, data=end.get("data")
    )
    return propose(run, proposal, transition)


def claim(run: Run, owner: str, worker: str, transition: str) -> ApiCall[ProposalResult]:
    """Claims a scheduled run for this worker; the id of the new state is the attempt."""
    message = claim_message(worker, ClaimMarker(owner, name=run.name))
    proposal = Proposal(PENDING, "Pending", message)
    answer = yield from call(_set_state(run, proposal, transition, idempotent=True))
    return _result(answer, proposal, transition)


def propose(run: Run, proposal: Proposal, transition: str) -> ApiCall[ProposalResult]:
    """Proposes a state for a run. `transition`: a UUID for this proposal alone.

    Raises LostResponse if the answer was lost and the run is not in the proposed state: whether the
    state is still right has to be decided again.
    """
    try:
        answer = yield from call(_set_state(run, proposal, transition))
    except LostResponse:
        subject = f"flow run '{run.name}'"
        request = Request("GET", paths.flow_run(run.id), subject=subject, missing_ok=True)
        found = yield from call(request)
        if found is None:
            return ProposalResult(Answer.GONE)
        if not _is_own(found.get("state"), transition):
            raise
        return ProposalResult(Answer.ACCEPTED, found["state"])
    return _result(answer, proposal, transition)


def _set_state(
    run: Run, proposal: Proposal, transition: str, *, idempotent: bool = False
) -> Request:
    return Request(
        "POST",
        f"{paths.flow_run(run.id)}/set_state",
        {
            "state": {
                "type": proposal.type,
                "name": proposal.name,
                "message": proposal.message,
                "data": proposal.data,
                "state_details": {"transition_id": transition},
            },
            "force": proposal.force,
        },
        idempotent=idempotent,
        subject=f"flow run '{run.name}'",
        missing_ok=True,
    )


def _is_own(state: Json, transition: str) -> bool:
    return bool(((state or {}).get("state_details") or {}).get("transition_id") == transition)


def _result(answer: Json, proposal: Proposal, transition: str) -> ProposalResult:
    if answer is None:
        return ProposalResult(Answer.GONE)
    state = answer.get("state") or {}
    reason = (answer.get("details") or {}).get("reason") or ""
    # From 3.9.5 on, also a state that the server puts in place of the proposed one has its id.
    own = _is_own(state, transition) and state.get("type") == proposal.type
    if answer["status"] == "ACCEPT" or own:
        return ProposalResult(Answer.ACCEPTED, state, reason)
    waits = answer["status"] == "WAIT" or state.get("type") == SCHEDULED
    later = waits and answer["status"] != "ABORT"
    return ProposalResult(Answer.LATER if later else Answer.REJECTED, state, reason)
