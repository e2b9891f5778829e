"""State proposals: claims and the final states of runs.

The server answers a proposal with ACCEPT, REJECT, WAIT or ABORT. Each proposal has a transition id,
by which the server recognises a repeated one, so a proposal whose answer was lost can be resent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.states import PENDING, SCHEDULED
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, claim_message


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
    return propose(run, Proposal(PENDING, "Pending", message), transition)


def propose(run: Run, proposal: Proposal, transition: str) -> ApiCall[ProposalResult]:
    """Proposes a state for a run. `transition`: a UUID for this proposal alone."""
    answer = yield from call(
        Request(
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
            subject=f"flow run '{run.name}'",
            missing_ok=True,
        )
    )
    return _result(answer, proposal, transition)


def _result(answer: Json, proposal: Proposal, transition: str) -> ProposalResult:
    if answer is None:
        return ProposalResult(Answer.GONE)
    state = answer.get("state") or {}
    reason = (answer.get("details") or {}).get("reason") or ""
    own = (state.get("state_details") or {}).get("transition_id") == transition
    if answer["status"] == "ACCEPT" or (own and state.get("type") == proposal.type):
        return ProposalResult(Answer.ACCEPTED, state, reason)
    waits = answer["status"] == "WAIT" or state.get("type") == SCHEDULED
    later = waits and answer["status"] != "ABORT"
    return ProposalResult(Answer.LATER if later else Answer.REJECTED, state, reason)
