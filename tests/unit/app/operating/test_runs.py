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
    Gone,
    NewRun,
    News,
    Watched,
    body,
    follow,
    look,
    problems,
    run_url,
    typed,
)
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from deployctl.core.json_values import Json
from deployctl.project import overrides
from tests.unit.api.network import answer, scripted_session
from tests.unit.app.held import held

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
def test_parameters_are_checked_against_the_flow(
    deployment: Json, parameters: Json, codes: list[str]
) -> None:
    found = problems(deployment, None, NewRun(parameters))
    assert [f"{each.severity} {each.code}" for each in found] == codes


WORDS = {
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
    ("name", "text", "meant"),
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
def test_a_parameter_is_a_text_where_its_flow_wants_one(name: str, text: str, meant: Json) -> None:
    flags = [f"{name}={text}"]
    wanted = NewRun(
        overrides.parse_assignments("--param", flags), overrides.assignment_texts(flags)
    )
    assert typed(wanted, WORDS).parameters == {name: meant}


@pytest.mark.parametrize(
    ("key", "variables", "codes"),
    [
        ("job_variables", {"image": "x"}, []),
        ("job_variables", {"image": 1}, ["DC530"]),
        ("infra_overrides", {"imag": "x"}, ["DC531"]),
    ],
)
def test_job_variables_are_checked_against_the_pool(
    key: str, variables: Json, codes: list[str]
) -> None:
    deployment = {**DEPLOYMENT, key: {"image": "theirs"}}
    found = problems(deployment, POOL, NewRun(job_variables=variables))
    assert [each.code for each in found] == codes


@pytest.mark.parametrize(
    ("wanted", "sent"),
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
def test_only_what_was_given_is_sent_with_the_key_that_makes_it_one_run(
    wanted: NewRun, sent: Json
) -> None:
    assert body(wanted, "key") == {**sent, "idempotency_key": "key"}


@pytest.mark.parametrize(
    ("api", "major", "url"),
    [
        ("http://h:4200/api", 3, "http://h:4200/runs/flow-run/r"),
        ("http://h:4200/api", 2, "http://h:4200/flow-runs/flow-run/r"),
        ("http://h:4200/elsewhere", 3, None),
        ("https://api.prefect.cloud/api/accounts/a/workspaces/b", 3, None),
    ],
)
def test_the_page_of_a_run_is_told_where_the_address_tells_it(
    api: str, major: int, url: str | None
) -> None:
    assert run_url({"id": "r"}, Settings(api_url=api), major) == url


def log(number: int) -> Json:
    return {"id": f"l-{number}", "timestamp": f"2030-01-01T00:00:{number:02}Z", "message": "m"}


def state(number: int, type_: str) -> Json:
    return {"id": f"s-{number}", "timestamp": f"2030-01-01T00:00:{number:02}Z", "type": type_}


def answers(
    run: Json, states: list[Json], logs: list[Json], asked: list[Json]
) -> Callable[..., Json]:
    """A server that keeps the filters of the logs that it was asked for."""

    def server(request: Any) -> Json:
        if request.path == "/logs/filter":
            asked.append(request.body)
            found = logs if request.body["sort"] == "TIMESTAMP_ASC" else logs[::-1]
            start = request.body["offset"]
            return found[start : start + request.body["limit"]]
        return states if request.path.startswith("/flow_run_states/") else run

    return server


def test_a_look_tells_what_no_look_before_told_oldest_first() -> None:
    watched, asked = Watched("r"), list[Json]()
    run = {"state_type": "RUNNING"}
    states = [state(2, "RUNNING"), state(1, "PENDING")]
    first = held(look(watched), answers(run, states, [log(1), log(20)], asked))
    again = held(look(watched), answers(run, states, [log(15), log(20), log(21)], asked))
    assert [each["id"] for each in first.states] == ["s-1", "s-2"]
    assert [each["id"] for each in first.logs] == ["l-1", "l-20"]
    assert again.states == ()
    assert [each["id"] for each in again.logs] == ["l-15", "l-21"]


def test_later_looks_begin_a_little_before_the_newest_log() -> None:
    watched, asked = Watched("r", level=30), list[Json]()
    for _ in range(2):
        held(look(watched), answers({"state_type": "RUNNING"}, [], [log(1), log(20)], asked))
    of_run = {"flow_run_id": {"any_": ["r"]}, "level": {"ge_": 30}}
    assert asked[0]["logs"] == of_run
    assert asked[1]["logs"] == {**of_run, "timestamp": {"after_": "2030-01-01T00:00:10+00:00"}}


def test_of_a_tail_nothing_earlier_is_ever_told() -> None:
    watched, asked = Watched("r", tail=2), list[Json]()
    first = held(look(watched), answers({}, [], [log(1), log(2), log(3)], asked))
    assert [each["id"] for each in first.logs] == ["l-2", "l-3"]
    held(look(watched), answers({}, [], [log(2), log(3)], asked))
    assert asked[-1]["logs"]["timestamp"] == {"after_": "2030-01-01T00:00:02+00:00"}


def test_a_long_tail_takes_several_pages() -> None:
    asked = list[Json]()
    held(look(Watched("r", tail=450)), answers({}, [], [], asked))
    assert [(each["offset"], each["limit"]) for each in asked] == [(0, 200), (200, 200), (400, 50)]


def test_a_run_that_was_deleted_is_gone() -> None:
    with pytest.raises(Gone):
        held(look(Watched("r")), lambda request: None if request.method == "GET" else [])


class Impatient(CancellationToken):
    """Does not wait; asks to end after so many waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waits = waits

    def wait(self, seconds: float) -> bool:  # noqa: ARG002
        self.waits -= 1
        if not self.waits:
            self.cancel(signal.SIGTERM)
        return self.is_cancelled


def watching(
    types: list[str], late_log: int, stop: CancellationToken
) -> tuple[Session, list[News]]:
    """A session on a run that goes through types of state, one per look, and a listener's ear.

    Its only log is there from look number `late_log` on.
    """
    looks = 0

    def network(request: httpx.Request) -> httpx.Response:
        nonlocal looks
        now = types[min(looks, len(types) - 1)]
        if request.url.path.startswith("/api/flow_run_states"):
            return answer(200, [{**state(1, now), "id": now}])
        if request.method == "GET":
            return answer(200, {"state_type": now})
        looks += 1
        return answer(200, [log(1)] if looks >= late_log else [])

    made = scripted_session(network)
    made.session.cancellation = stop
    made.session.concurrency = 1  # the logs are asked for last, and end the look
    return made.session, []


def test_following_ends_when_the_run_has_ended_and_its_logs_are_quiet() -> None:
    session, heard = watching(["PENDING", "RUNNING", "FAILED"], 5, Impatient(99))
    with session:
        end = follow(Watched("r"), session, heard.append)
    assert end["state_type"] == "FAILED"
    assert [each["id"] for news in heard for each in news.states] == [
        "PENDING",
        "RUNNING",
        "FAILED",
    ]
    assert [each["id"] for news in heard for each in news.logs] == ["l-1"]


def test_the_end_of_a_run_is_told_after_its_last_log() -> None:
    session, heard = watching(["RUNNING", "COMPLETED"], 4, Impatient(99))
    with session:
        follow(Watched("r"), session, heard.append)
    told = [each["id"] for news in heard for each in (*news.logs, *news.states)]
    assert told == ["RUNNING", "l-1", "COMPLETED"]


def test_an_end_that_was_none_is_told_before_what_comes_after() -> None:
    session, heard = watching(["FAILED", "SCHEDULED", "COMPLETED"], 1, Impatient(99))
    with session:
        follow(Watched("r"), session, heard.append)
    told = [each["id"] for news in heard for each in news.states]
    assert told == ["FAILED", "SCHEDULED", "COMPLETED"]


def test_a_stop_ends_the_watching_and_says_that_the_run_goes_on() -> None:
    session, heard = watching(["RUNNING"], 1, Impatient(2))
    with session, pytest.raises(Interrupted) as stopped:
        follow(Watched("r"), session, heard.append)
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert "the run goes on" in stopped.value.message
