"""New flow runs, and how a run is followed to its end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.app.operating.runs import (
    NewRun,
    RunCursor,
    RunDeleted,
    RunUpdate,
    find_problems,
    follow_run,
    poll_run,
    request_body,
    run_url,
    with_typed_parameters,
)
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from deployctl.core.json_values import Json
from deployctl.project import overrides
from tests.unit.api.network import answer, scripted_session
from tests.unit.app.fake_driver import run_with

SCHEMA = {
    "type": "object",
    "properties": {"day": {"type": "string"}, "times": {"type": "integer", "default": 1}},
    "required": ["day"],
}
DEPLOYMENT = {"parameter_openapi_schema": SCHEMA, "parameters": {"day": "today"}}
POOL = {
    "base_job_template": {
        "variables": {"type": "object", "properties": {"image": {"type": "string"}}}
    }
}


@pytest.mark.parametrize(
    ("deployment", "parameters", "codes"),
    [
        (DEPLOYMENT, {}, []),
        (DEPLOYMENT, {"times": 3}, []),
        (DEPLOYMENT, {"times": "x"}, ["error DC420"]),
        ({**DEPLOYMENT, "enforce_parameter_schema": False}, {"times": "x"}, ["warning DC420"]),
        (DEPLOYMENT, {"tims": 3}, ["error DC421"]),
        ({**DEPLOYMENT, "parameters": {}}, {}, ["error DC662"]),
        ({**DEPLOYMENT, "parameters": {}}, {"day": "now"}, []),
        ({"parameter_openapi_schema": None, "parameters": None}, {}, []),
    ],
)
def test_checks_parameters_against_flow(
    deployment: Json, parameters: Json, codes: list[str]
) -> None:
    found = find_problems(deployment, None, NewRun(parameters))
    assert [f"{each.severity} {each.code}" for each in found] == codes


TYPES_SCHEMA = {
    "properties": {
        "name": {"type": "string"},
        "limit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "mode": {"$ref": "#/definitions/Mode"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "times": {"type": "integer"},
        "open": {},
    },
    "definitions": {"Mode": {"enum": ["1", "2"]}},
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("name", "3", "3"),
        ("name", "true", "true"),
        ("name", '"3"', "3"),
        ("name", "x", "x"),
        ("limit", "007", "007"),
        ("limit", "1.0", "1.0"),
        ("limit", "null", None),
        ("mode", "1", "1"),
        ("mode", "3", 3),
        ("either", "3", 3),
        ("times", "3", 3),
        ("times", "x", "x"),
        ("open", "3", 3),
        ("unknown", "3", 3),
    ],
)
def test_parameter_stays_text_where_flow_takes_string(name: str, text: str, expected: Json) -> None:
    flags = [f"{name}={text}"]
    requested = NewRun(
        overrides.parse_assignments("--param", flags), overrides.assignment_texts(flags)
    )
    assert with_typed_parameters(requested, TYPES_SCHEMA).parameters == {name: expected}


@pytest.mark.parametrize(
    ("key", "variables", "codes"),
    [
        ("job_variables", {"image": "x"}, []),
        ("job_variables", {"image": 1}, ["DC530"]),
        ("infra_overrides", {"imag": "x"}, ["DC531"]),
    ],
)
def test_checks_job_variables_against_pool(key: str, variables: Json, codes: list[str]) -> None:
    deployment = {**DEPLOYMENT, key: {"image": "theirs"}}
    found = find_problems(deployment, POOL, NewRun(job_variables=variables))
    assert [each.code for each in found] == codes


@pytest.mark.parametrize(
    ("new_run", "sent"),
    [
        (NewRun(), {"parameters": {}}),
        (
            NewRun({"x": 1}, name="n", tags=("a",)),
            {"parameters": {"x": 1}, "name": "n", "tags": ["a"]},
        ),
        (NewRun(job_variables={"image": "x"}), {"parameters": {}, "job_variables": {"image": "x"}}),
        (
            NewRun(start=datetime(2030, 1, 1, tzinfo=UTC)),
            {
                "parameters": {},
                "state": {
                    "type": "SCHEDULED",
                    "state_details": {"scheduled_time": "2030-01-01T00:00:00+00:00"},
                },
            },
        ),
    ],
)
def test_request_has_given_fields_and_idempotency_key(new_run: NewRun, sent: Json) -> None:
    assert request_body(new_run, "key") == {**sent, "idempotency_key": "key"}


@pytest.mark.parametrize(
    ("api", "major", "url"),
    [
        ("http://h:4200/api", 3, "http://h:4200/runs/flow-run/r"),
        ("http://h:4200/api", 2, "http://h:4200/flow-runs/flow-run/r"),
        ("http://h:4200/elsewhere", 3, None),
        ("https://api.prefect.cloud/api/accounts/a/workspaces/b", 3, None),
    ],
)
def test_run_url_is_known_only_for_default_api_path(api: str, major: int, url: str | None) -> None:
    assert run_url({"id": "r"}, Settings(api_url=api), major) == url


def log(number: int) -> Json:
    return {"id": f"l-{number}", "timestamp": f"2030-01-01T00:00:{number:02}Z", "message": "m"}


def state(number: int, type_: str) -> Json:
    return {"id": f"s-{number}", "timestamp": f"2030-01-01T00:00:{number:02}Z", "type": type_}


def answers(
    run: Json, states: list[Json], logs: list[Json], requests: list[Json]
) -> Callable[..., Json]:
    """A server with one run; adds each request for logs to `requests`."""

    def server(request: Any) -> Json:
        if request.path == "/logs/filter":
            requests.append(request.body)
            found = logs if request.body["sort"] == "TIMESTAMP_ASC" else logs[::-1]
            start = request.body["offset"]
            return found[start : start + request.body["limit"]]
        return states if request.path.startswith("/flow_run_states/") else run

    return server


def test_poll_returns_only_new_items_oldest_first() -> None:
    cursor, requests = RunCursor("r"), list[Json]()
    run = {"state_type": "RUNNING"}
    states = [state(2, "RUNNING"), state(1, "PENDING")]
    first = run_with(poll_run(cursor), answers(run, states, [log(1), log(20)], requests))
    again = run_with(poll_run(cursor), answers(run, states, [log(15), log(20), log(21)], requests))
    assert [each["id"] for each in first.states] == ["s-1", "s-2"]
    assert [each["id"] for each in first.logs] == ["l-1", "l-20"]
    assert again.states == ()
    assert [each["id"] for each in again.logs] == ["l-15", "l-21"]


def test_later_polls_overlap_newest_log() -> None:
    cursor, requests = RunCursor("r", level=30), list[Json]()
    for _ in range(2):
        run_with(
            poll_run(cursor), answers({"state_type": "RUNNING"}, [], [log(1), log(20)], requests)
        )
    of_run = {"flow_run_id": {"any_": ["r"]}, "level": {"ge_": 30}}
    assert requests[0]["logs"] == of_run
    assert requests[1]["logs"] == {**of_run, "timestamp": {"after_": "2030-01-01T00:00:10+00:00"}}


def test_later_polls_return_nothing_before_the_tail() -> None:
    cursor, requests = RunCursor("r", tail=2), list[Json]()
    first = run_with(poll_run(cursor), answers({}, [], [log(1), log(2), log(3)], requests))
    assert [each["id"] for each in first.logs] == ["l-2", "l-3"]
    run_with(poll_run(cursor), answers({}, [], [log(2), log(3)], requests))
    assert requests[-1]["logs"]["timestamp"] == {"after_": "2030-01-01T00:00:02+00:00"}


def test_long_tail_takes_several_pages() -> None:
    requests = list[Json]()
    run_with(poll_run(RunCursor("r", tail=450)), answers({}, [], [], requests))
    assert [(each["offset"], each["limit"]) for each in requests] == [
        (0, 200),
        (200, 200),
        (400, 50),
    ]


def test_poll_of_deleted_run_raises() -> None:
    with pytest.raises(RunDeleted):
        run_with(poll_run(RunCursor("r")), lambda request: None if request.method == "GET" else [])


class CancelledAfter(CancellationToken):
    """Doesn't wait; is cancelled at the wait number `waits`."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits = waits

    def wait(self, seconds: float) -> bool:  # noqa: ARG002
        self.waits -= 1
        if not self.waits:
            self.cancel(signal.SIGTERM)
        return self.is_cancelled


def follow_session(
    types: list[str], late_log: int, stop: CancellationToken
) -> tuple[Session, list[RunUpdate]]:
    """A session with a run that has one state type per poll, and a list for its updates.

    Its only log exists from poll number `late_log` on.
    """
    polls = 0

    def network(request: httpx.Request) -> httpx.Response:
        nonlocal polls
        now = types[min(polls, len(types) - 1)]
        if request.url.path.startswith("/api/flow_run_states"):
            return answer(200, [{**state(1, now), "id": now}])
        if request.method == "GET":
            return answer(200, {"state_type": now})
        polls += 1
        return answer(200, [log(1)] if polls >= late_log else [])

    harness = scripted_session(network)
    harness.session.cancellation = stop
    harness.session.concurrency = 1  # so that logs are requested last and end the poll
    return harness.session, []


def test_follow_ends_when_run_is_final_and_logs_are_quiet() -> None:
    session, updates = follow_session(["PENDING", "RUNNING", "FAILED"], 5, CancelledAfter(99))
    with session:
        final = follow_run(RunCursor("r"), session, updates.append)
    assert final["state_type"] == "FAILED"
    assert [each["id"] for update in updates for each in update.states] == [
        "PENDING",
        "RUNNING",
        "FAILED",
    ]
    assert [each["id"] for update in updates for each in update.logs] == ["l-1"]


def test_final_state_is_reported_after_last_log() -> None:
    session, updates = follow_session(["RUNNING", "COMPLETED"], 4, CancelledAfter(99))
    with session:
        follow_run(RunCursor("r"), session, updates.append)
    reported = [each["id"] for update in updates for each in (*update.logs, *update.states)]
    assert reported == ["RUNNING", "l-1", "COMPLETED"]


def test_final_state_that_is_left_again_is_reported_in_order() -> None:
    session, updates = follow_session(["FAILED", "SCHEDULED", "COMPLETED"], 1, CancelledAfter(99))
    with session:
        follow_run(RunCursor("r"), session, updates.append)
    reported = [each["id"] for update in updates for each in update.states]
    assert reported == ["FAILED", "SCHEDULED", "COMPLETED"]


def test_cancellation_ends_watching_and_leaves_the_run() -> None:
    session, updates = follow_session(["RUNNING"], 1, CancelledAfter(2))
    with session, pytest.raises(Interrupted) as stopped:
        follow_run(RunCursor("r"), session, updates.append)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert "the run continues" in stopped.value.message
