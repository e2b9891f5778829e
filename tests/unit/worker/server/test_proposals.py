"""What the server's answers to proposals mean, of versions that tests cannot run, too."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.api.calls import ApiCall, Request
from deployctl.core.errors import LostResponse
from deployctl.worker.model import Run
from deployctl.worker.server.claims import Answer, Proposal, ProposalResult, claim, propose

RUN = Run("r1", "red-fox", "s1", "SCHEDULED", "Scheduled", 0.0, "d1", "f1")
CRASHED = Proposal("CRASHED", "Crashed", "It is gone.")
OWN, OTHER = "own-transition", "other-transition"


def state(type_: str, transition: str | None = None) -> dict[str, Any]:
    return {"id": "s2", "type": type_, "state_details": {"transition_id": transition}}


def answer(status: str, *of_state: str | None, reason: str = "") -> dict[str, Any]:
    found = state(*of_state) if of_state and of_state[0] else None  # type: ignore[arg-type]
    return {"status": status, "state": found, "details": {"reason": reason}}


def run_call(
    api_call: ApiCall[ProposalResult], *answers: Any
) -> tuple[ProposalResult, list[Request]]:
    """The result of a call that gets these answers, and its requests. Errors are thrown."""
    sent: list[Request] = []
    try:
        sent += next(api_call)
        for each in answers:
            if isinstance(each, Exception):
                sent += api_call.throw(each)
            else:
                sent += api_call.send([each])
    except StopIteration as done:
        return done.value, sent
    raise AssertionError("the call is not over")


@pytest.mark.parametrize(
    ("answered", "meaning"),
    [
        (answer("ACCEPT", "PENDING", OWN), Answer.ACCEPTED),
        # sent again after a lost answer
        (answer("REJECT", "PENDING", OWN), Answer.ACCEPTED),
        (answer("REJECT", "PENDING", OTHER), Answer.REJECTED),
        (answer("WAIT", None), Answer.LATER),
        (answer("REJECT", "SCHEDULED", OTHER), Answer.LATER),
        # 3.9.5: the state that a rejecting rule puts in place has the client's transition id
        (answer("REJECT", "SCHEDULED", OWN), Answer.LATER),
        (answer("REJECT", "CANCELLED", OWN), Answer.REJECTED),
        # 3.9.4: no completed run is moved to PENDING
        (answer("ABORT", None, reason="completed"), Answer.REJECTED),
        (answer("ABORT", "COMPLETED", OTHER), Answer.REJECTED),
        (answer("REJECT", "COMPLETED", OTHER), Answer.REJECTED),
        (answer("ABORT", "SCHEDULED", OTHER), Answer.REJECTED),
        (None, Answer.GONE),
    ],
)
def test_answers_to_a_claim(answered: Any, meaning: Answer) -> None:
    result, (request,) = run_call(claim(RUN, "owner", "w", OWN), answered)
    assert result.answer is meaning
    assert request.idempotent


@pytest.mark.parametrize(
    ("answered", "meaning"),
    [
        (answer("ACCEPT", "CRASHED", OWN), Answer.ACCEPTED),
        (answer("REJECT", "CRASHED", OWN), Answer.ACCEPTED),
        (answer("REJECT", "CRASHED", OTHER), Answer.REJECTED),
        # 3.9.5: retried instead
        (answer("REJECT", "SCHEDULED", OWN), Answer.LATER),
        (answer("REJECT", "COMPLETED", OWN), Answer.REJECTED),
    ],
)
def test_answers_to_an_end(answered: Any, meaning: Answer) -> None:
    result, (request,) = run_call(propose(RUN, CRASHED, OWN), answered)
    assert result.answer is meaning
    assert not request.idempotent


@pytest.mark.parametrize(
    ("found", "meaning"),
    [
        ({"state": state("CRASHED", OWN)}, Answer.ACCEPTED),
        (None, Answer.GONE),
        ({"state": state("RUNNING", OTHER)}, None),
        ({"state": state("SCHEDULED", OTHER)}, None),
    ],
)
def test_end_whose_answer_was_lost_is_not_proposed_again_blindly(
    found: Any, meaning: Answer | None
) -> None:
    """A person may have rescheduled the run since."""
    api_call = propose(RUN, CRASHED, OWN)
    if meaning is None:
        with pytest.raises(LostResponse):
            run_call(api_call, LostResponse("lost"), found)
        return
    result, (_, read) = run_call(api_call, LostResponse("lost"), found)
    assert (result.answer, read.method) == (meaning, "GET")
