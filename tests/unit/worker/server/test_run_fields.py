from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import pytest

from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.core.errors import ApiError, ServerError, Unauthorized, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, parse_marker
from deployctl.worker.server.run_fields import label, tell_pid, tell_waiting

T = TypeVar("T")
NEW, MIDDLE, OLD = Dialect((3, 8, 8)), Dialect((3, 4, 0)), Dialect((2, 20, 26))
ATTEMPT = "0b7bd7a5-2f1c-4b7e-9a64-1d4f2f6f8a01"
RUN = Run("r1", "fast-fox", "s", "PENDING", "Pending", 0.0, "d", "f", attempt=ATTEMPT)


def hold(talk: ApiCall[T], answer: Json = None) -> tuple[list[Request], T]:
    """Holds a talk in which every request gets `answer`, or fails with it."""
    asked: list[Request] = []
    try:
        batch: Sequence[Request] = next(talk)
        while True:
            asked += batch
            if isinstance(answer, Exception):
                batch = talk.throw(answer)
            else:
                batch = talk.send([answer] * len(batch))
    except StopIteration as stop:
        return asked, stop.value


def test_labels_are_added_to_a_run() -> None:
    request = label(RUN, {"prefect.worker.name": "w"})
    assert (request.method, request.path) == ("PATCH", "/flow_runs/r1/labels")
    assert request.body == {"prefect.worker.name": "w"}


def test_a_run_is_told_where_its_job_is() -> None:
    (request,), problem = hold(tell_pid(RUN, "flows:hello"))
    assert (request.method, request.path) == ("PATCH", "/flow_runs/r1")
    assert request.body == {"infrastructure_pid": "flows:hello"}
    assert problem is None


def test_a_run_that_waits_keeps_the_mark_of_its_claim() -> None:
    (request,), problem = hold(tell_waiting(RUN, "o", "t", NEW), {"status": "ABORT"})
    state = request.body["state"]
    assert (state["type"], state["name"]) == ("PENDING", "InfrastructurePending")
    assert parse_marker(state["message"]) == ClaimMarker("o", ATTEMPT, "fast-fox")
    assert problem is None


@pytest.mark.parametrize("type_", ["RUNNING", "CRASHED", "COMPLETED"])
def test_a_run_that_is_known_to_have_begun_is_not_shown_to_wait(type_: str) -> None:
    assert hold(tell_waiting(replace(RUN, type=type_), "o", "t", NEW)) == ([], None)


def test_a_run_of_somebody_else_is_not_shown_to_wait() -> None:
    theirs = replace(RUN, attempt="", foreign=True)
    assert hold(tell_waiting(theirs, "o", "t", NEW)) == ([], None)


@pytest.mark.parametrize(
    "talk",
    [tell_waiting(RUN, "o", "t", MIDDLE), tell_waiting(RUN, "o", "t", OLD)],
    ids=["3.4 aborts it", "2.20 aborts it"],
)
def test_a_server_is_not_told_a_name_that_it_does_not_know(talk: ApiCall[ApiError | None]) -> None:
    assert hold(talk) == ([], None)


@pytest.mark.parametrize("error", [ServerError("500"), Unreachable("gone"), Unauthorized("403")])
@pytest.mark.parametrize("which", ["pid", "waiting"])
def test_an_error_is_given_and_not_raised(error: ApiError, which: str) -> None:
    talks = {
        "pid": tell_pid(RUN, "p"),
        "waiting": tell_waiting(RUN, "o", "t", NEW),
    }
    _, problem = hold(talks[which], error)
    assert problem is error


def test_a_run_that_was_deleted_meanwhile_is_no_error() -> None:
    (request,), problem = hold(tell_pid(RUN, "p"), None)
    assert request.missing_ok
    assert problem is None
