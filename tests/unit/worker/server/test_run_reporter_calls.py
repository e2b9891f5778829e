"""API calls of the run reporter."""

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
from deployctl.worker.server.run_reporter import (
    add_labels,
    set_infrastructure_pending,
    set_pid,
)

T = TypeVar("T")
NEW, MIDDLE, OLD = Dialect((3, 8, 8)), Dialect((3, 4, 0)), Dialect((2, 20, 26))
ATTEMPT = "0b7bd7a5-2f1c-4b7e-9a64-1d4f2f6f8a01"
RUN = Run("r1", "fast-fox", "s", "PENDING", "Pending", 0.0, "d", "f", attempt=ATTEMPT)


def run_call(api_call: ApiCall[T], answer: Json = None) -> tuple[list[Request], T]:
    """Run a call in which every request gets `answer`, or fails with it."""
    requests: list[Request] = []
    try:
        batch: Sequence[Request] = next(api_call)
        while True:
            requests += batch
            if isinstance(answer, Exception):
                batch = api_call.throw(answer)
            else:
                batch = api_call.send([answer] * len(batch))
    except StopIteration as stop:
        return requests, stop.value


def test_adds_labels_to_a_run() -> None:
    request = add_labels(RUN, {"prefect.worker.name": "w"})
    assert (request.method, request.path) == ("PATCH", "/flow_runs/r1/labels")
    assert request.body == {"prefect.worker.name": "w"}


def test_stores_the_location_of_a_job() -> None:
    (request,), error = run_call(set_pid(RUN, "flows:hello"))
    assert (request.method, request.path) == ("PATCH", "/flow_runs/r1")
    assert request.body == {"infrastructure_pid": "flows:hello"}
    assert error is None


def test_a_waiting_run_keeps_the_marker_of_its_claim() -> None:
    (request,), error = run_call(
        set_infrastructure_pending(RUN, "o", "t", NEW), {"status": "ABORT"}
    )
    state = request.body["state"]
    assert (state["type"], state["name"]) == ("PENDING", "InfrastructurePending")
    assert parse_marker(state["message"]) == ClaimMarker("o", ATTEMPT, "fast-fox")
    assert error is None


@pytest.mark.parametrize("type_", ["RUNNING", "CRASHED", "COMPLETED"])
def test_does_not_change_the_state_of_a_run_that_has_started(type_: str) -> None:
    assert run_call(set_infrastructure_pending(replace(RUN, type=type_), "o", "t", NEW)) == (
        [],
        None,
    )


def test_does_not_change_the_state_of_a_foreign_run() -> None:
    theirs = replace(RUN, attempt="", foreign=True)
    assert run_call(set_infrastructure_pending(theirs, "o", "t", NEW)) == ([], None)


@pytest.mark.parametrize(
    "api_call",
    [
        set_infrastructure_pending(RUN, "o", "t", MIDDLE),
        set_infrastructure_pending(RUN, "o", "t", OLD),
    ],
    ids=["3.4 aborts it", "2.20 aborts it"],
)
def test_sends_no_state_name_that_the_server_does_not_know(
    api_call: ApiCall[ApiError | None],
) -> None:
    assert run_call(api_call) == ([], None)


@pytest.mark.parametrize("error", [ServerError("500"), Unreachable("gone"), Unauthorized("403")])
@pytest.mark.parametrize("which", ["pid", "waiting"])
def test_returns_errors_instead_of_raising_them(error: ApiError, which: str) -> None:
    calls = {
        "pid": set_pid(RUN, "p"),
        "waiting": set_infrastructure_pending(RUN, "o", "t", NEW),
    }
    _, returned = run_call(calls[which], error)
    assert returned is error


def test_a_deleted_run_is_no_error() -> None:
    (request,), error = run_call(set_pid(RUN, "p"), None)
    assert request.missing_ok
    assert error is None
