"""Moving a run from state to state: claims, and what became of their jobs.

A proposal is answered with ACCEPT, REJECT, WAIT or ABORT. Each is sent with a transition id, by
which the server knows a repeated one, so an answer that is lost on its way costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.states import PENDING, SCHEDULED
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, with_marker


class Answer(Enum):
    """What the server made of a proposal."""

    ACCEPTED = auto()
    ELSEWHERE = auto()
    """Somebody else has the run, or its state does not allow this (any more)."""
    LATER = auto()
    """The run has to wait, for a slot or for its time; the server will offer it again."""
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
    """A state that a run should be in."""

    type: str
    name: str
    message: str
    force: bool = False
    data: Json = None
    cause: str = ""
    """The code of what led to it, for metrics."""


def hand_back(run: Run, end: Json, transition: str) -> ApiCall[ProposalResult]:
    """Puts a run that was claimed after its end back into the state that it had ended in."""
    proposal = Proposal(
        end["type"], end["name"], end.get("message") or "", force=True, data=end.get("data")
    )
    return propose(run, proposal, transition)


def claim(run: Run, owner: str, worker: str, transition: str) -> ApiCall[ProposalResult]:
    """Takes a scheduled run for this worker; the id of the new state is the attempt."""
    message = with_marker(f"Claimed by worker '{worker}'.", ClaimMarker(owner, name=run.name))
    return propose(run, Proposal(PENDING, "Pending", message), transition)


def propose(run: Run, proposal: Proposal, transition: str) -> ApiCall[ProposalResult]:
    """Asks the server to put the run into a state. `transition`: a UUID of this proposal alone."""
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
    return _verdict(answer, proposal, transition)


def _verdict(answer: Json, proposal: Proposal, transition: str) -> ProposalResult:
    if answer is None:
        return ProposalResult(Answer.GONE)
    state = answer.get("state") or {}
    reason = (answer.get("details") or {}).get("reason") or ""
    mine = (state.get("state_details") or {}).get("transition_id") == transition
    if answer["status"] == "ACCEPT" or (mine and state.get("type") == proposal.type):
        return ProposalResult(Answer.ACCEPTED, state, reason)
    waits = answer["status"] == "WAIT" or state.get("type") == SCHEDULED
    later = waits and answer["status"] != "ABORT"
    return ProposalResult(Answer.LATER if later else Answer.ELSEWHERE, state, reason)
