from __future__ import annotations

import signal
from typing import Any

import httpx
import pytest

from deployctl.api.calls import Request
from deployctl.api.session import Session, headers
from deployctl.api.settings import Settings
from deployctl.core.errors import (
    ApiError,
    Conflict,
    Interrupted,
    LostResponse,
    NotFound,
    Rejected,
    ServerError,
    SettingsError,
    Unauthorized,
    Unreachable,
)
from tests.unit.api.network import API, answer, bench

READ = Request("GET", "/flows/1", subject="flow hello")
CREATE = Request("POST", "/automations/", {"name": "x"}, idempotent=False, subject="automation x")

REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.RemoteProtocolError("Server disconnected without sending a response.")
SLOW = httpx.ReadTimeout("timed out")


def test_the_answer_is_the_body() -> None:
    on = bench(answer(200, {"id": "1"}))
    assert on.session.send(READ) == {"id": "1"}
    assert str(on.network.seen[0].url) == f"{API}/flows/1"


def test_an_empty_answer_is_none() -> None:
    assert bench(httpx.Response(204)).session.send(READ) is None


def test_a_body_is_sent_as_json_in_its_own_script() -> None:
    on = bench(answer(200))
    on.session.send(Request("POST", "/flows/", {"name": "資料"}))
    assert on.network.seen[0].content == '{"name":"資料"}'.encode()
    assert on.network.seen[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_say_is_rejected_before_it_is_sent(value: Any) -> None:
    on = bench(answer(200))
    with pytest.raises(Rejected, match="flow hello: holds a value that JSON cannot say"):
        on.session.send(Request("POST", "/flows/", {"x": value}, subject="flow hello"))
    assert on.network.seen == []


def test_a_missing_object_is_an_answer_where_the_request_says_so() -> None:
    on = bench(answer(404, {"detail": "Flow not found"}))
    assert on.session.send(Request("GET", "/flows/1", missing_ok=True)) is None


@pytest.mark.parametrize("step", [answer(500), answer(502), answer(408), BROKEN, SLOW])
def test_a_failure_is_tried_again(step: httpx.Response | Exception) -> None:
    on = bench(step, step, answer(200, 1))
    assert on.session.send(READ) == 1
    assert len(on.network.seen) == 3


def test_tries_end_after_the_number_that_is_set() -> None:
    on = bench(answer(500, {"exception_message": "Internal Server Error"}), max_retries=3)
    with pytest.raises(ServerError, match=r"flow hello: the server at .* failed with status 500"):
        on.session.send(READ)
    assert len(on.network.seen) == 4
    assert on.waits == [0.2, 0.4, 0.8]


def test_no_retries_means_one_try() -> None:
    on = bench(answer(500), max_retries=0)
    with pytest.raises(ServerError):
        on.session.send(READ)
    assert (len(on.network.seen), on.waits) == (1, [])


@pytest.mark.parametrize("step", [answer(500), answer(502), answer(504), BROKEN, SLOW])
def test_what_must_not_be_repeated_is_lost_and_not_repeated(
    step: httpx.Response | Exception,
) -> None:
    on = bench(step, answer(200))
    with pytest.raises(LostResponse, match="automation x: sent, but"):
        on.session.send(CREATE)
    assert len(on.network.seen) == 1


@pytest.mark.parametrize("step", [answer(503), answer(429), REFUSED])
def test_what_was_not_begun_may_be_repeated_all_the_same(
    step: httpx.Response | Exception,
) -> None:
    on = bench(step, answer(201, 1))
    assert on.session.send(CREATE) == 1


def test_the_server_says_how_long_to_wait() -> None:
    on = bench(answer(500, Retry_After="7"), answer(200))
    on.session.send(READ)
    assert on.waits == [7.0]


def test_a_long_wait_is_told() -> None:
    on = bench(answer(500, Retry_After="7"), answer(200))
    on.session.send(READ)
    assert on.told.lines == [f"{API}: status 500; trying again in 7 s"]


def test_maintenance_is_waited_for_however_long_it_takes() -> None:
    down = answer(503, Prefect_Maintenance="true")
    on = bench(*[down] * 50, answer(200, 1), max_retries=1)
    assert on.session.send(READ) == 1
    assert "under maintenance" in on.told.lines[0]


def test_a_server_that_never_answered_is_given_up_within_seconds() -> None:
    on = bench(REFUSED, max_retries=100)
    with pytest.raises(Unreachable, match=r"the server at 'http://prefect\.test/api'") as raised:
        on.session.send(READ)
    assert sum(on.waits) < 2
    assert raised.value.help == "The address comes from a test."


def test_a_server_that_restarts_gets_half_a_minute() -> None:
    on = bench(answer(200), *[REFUSED] * 5, answer(200, 2))
    on.session.send(READ)
    assert on.session.send(READ) == 2
    assert on.waits == [1, 2, 4, 8, 16]


def test_refusals_while_others_are_under_way_cost_no_try() -> None:
    on = bench(*[answer(503)] * 4, answer(200, 1), max_retries=0)
    assert on.session.send(READ) == 1  # 16 → 8 → 4 → 2 → 1
    assert max(on.waits) < 0.5


def test_a_server_that_only_refuses_is_given_up() -> None:
    on = bench(answer(503), max_retries=2)
    with pytest.raises(ServerError):
        on.session.send(READ)


def test_codes_that_the_user_wants_to_be_retried() -> None:
    on = bench(answer(423), answer(201, 1), retry_extra_codes=frozenset({423}))
    assert on.session.send(CREATE) == 1


def test_after_a_stop_nothing_is_begun() -> None:
    on = bench(answer(200))
    on.session.cancellation.cancel(signal.SIGTERM)
    with pytest.raises(Interrupted) as raised:
        on.session.send(READ)
    assert raised.value.exit_code == 143
    assert on.network.seen == []


def test_after_a_stop_what_is_half_done_is_finished_but_not_waited_for() -> None:
    on = bench(answer(200, 1), answer(500))
    on.session.cancellation.cancel()
    assert on.session.send(READ, finish=True) == 1
    with pytest.raises(Interrupted):
        on.session.send(READ, finish=True)
    assert on.waits == []


def protected(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/csrf-token"):
        client = request.url.params["client"]
        return answer(200, {"token": f"token of {client}", "client": client, "expiration": ""})
    client = request.headers.get("prefect-csrf-client")
    if request.headers.get("prefect-csrf-token") is None:
        return answer(403, {"detail": "Missing CSRF token."})
    if request.headers["prefect-csrf-token"] != f"token of {client}":
        return answer(403, {"detail": "Invalid CSRF token or client identifier."})
    return answer(200, request.url.path)


def test_a_csrf_token_is_fetched_once_when_the_server_wants_one() -> None:
    on = bench(protected)
    search = Request("POST", "/flows/filter", {})
    assert on.session.send(search) == "/api/flows/filter"
    assert on.session.send(CREATE) == "/api/automations/"
    paths = [request.url.path.removeprefix("/api") for request in on.network.seen]
    assert paths == ["/flows/filter", "/csrf-token", "/flows/filter", "/automations/"]


def test_no_csrf_token_is_asked_for_where_none_is_wanted() -> None:
    on = bench(answer(200))
    on.session.send(CREATE)
    assert len(on.network.seen) == 1


def test_a_csrf_token_that_is_too_old_is_replaced() -> None:
    on = bench(
        protected, protected, protected, answer(403, {"detail": "Invalid CSRF token"}), protected
    )
    on.session.send(CREATE)
    assert on.session.send(CREATE) == "/api/automations/"


def test_csrf_support_that_is_off_is_named_in_the_error() -> None:
    on = bench(protected, csrf_support=False)
    with pytest.raises(Unauthorized) as raised:
        on.session.send(CREATE)
    assert raised.value.help == "Set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true."


def test_a_server_that_gives_no_working_token_is_given_up() -> None:
    on = bench(
        lambda request: (
            answer(200, {"token": "wrong"})
            if request.method == "GET"
            else answer(403, {"detail": "Invalid CSRF token or client identifier."})
        )
    )
    with pytest.raises(Unauthorized):
        on.session.send(CREATE)
    assert len(on.network.seen) == 5


@pytest.mark.parametrize("status", [404, 422])
def test_a_server_without_tokens_is_not_asked_again(status: int) -> None:
    on = bench(answer(403, {"detail": "Missing CSRF token."}), answer(status))
    with pytest.raises(Unauthorized):
        on.session.send(CREATE)


def test_waiting_for_the_api_ends_when_it_is_healthy() -> None:
    on = bench(REFUSED, answer(502), answer(404), answer(200, True))
    on.session.wait_for_api(60)
    assert {request.url.path for request in on.network.seen} == {"/api/health"}


def test_waiting_for_the_api_ends_when_the_time_is_over() -> None:
    on = bench(REFUSED)
    with pytest.raises(Unreachable):
        on.session.wait_for_api(10)
    assert sum(on.waits) == pytest.approx(10, abs=0.1)


def test_waiting_for_the_api_names_what_it_last_said() -> None:
    on = bench(answer(502))
    with pytest.raises(Unreachable, match=r"is not healthy \(status 502\)"):
        on.session.wait_for_api(3)


def test_no_server_is_an_error_that_says_how_to_set_one() -> None:
    with pytest.raises(SettingsError, match="no Prefect server is set") as raised:
        Session(Settings())
    assert raised.value.help is not None
    for way in ("--api-url", "PREFECT_API_URL", "profile"):
        assert way in raised.value.help


@pytest.mark.parametrize(
    ("settings", "sent"),
    [
        (Settings(api_key="pnu_123"), "Bearer pnu_123"),
        (Settings(auth_string="user:pass"), "Basic dXNlcjpwYXNz"),
        (Settings(api_key="pnu_123", auth_string="user:pass"), "Basic dXNlcjpwYXNz"),
        (Settings(api_key="k", custom_headers={"authorization": "Own x"}), "Own x"),
        (Settings(), None),
    ],
)
def test_credentials(settings: Settings, sent: str | None) -> None:
    lower = {name.lower(): value for name, value in headers(settings).items()}
    assert lower.get("authorization") == sent


def test_custom_headers_do_not_change_who_we_are() -> None:
    sent = headers(
        Settings(custom_headers={"User-Agent": "x", "Prefect-Csrf-Token": "x", "A": "b"})
    )
    assert sent["User-Agent"].startswith("deployctl/")
    assert "Prefect-Csrf-Token" not in sent
    assert sent["A"] == "b"


@pytest.mark.parametrize(
    ("settings", "help_"),
    [
        ({}, "None were sent: set PREFECT_API_KEY or PREFECT_API_AUTH_STRING."),
        (
            {"api_key": "k", "sources": {"api_key": "a file"}},
            "The API key that was sent comes from a file.",
        ),
        (
            {
                "api_key": "k",
                "auth_string": "a:b",
                "sources": {"api_key": "x", "auth_string": "the environment"},
            },
            "The auth string that was sent comes from the environment.",
        ),
        (
            {"custom_headers": {"Authorization": "x"}, "sources": {"custom_headers": "a file"}},
            "They are the custom header that comes from a file.",
        ),
    ],
)
def test_refused_credentials_are_named_by_their_place(settings: dict[str, Any], help_: str) -> None:
    with pytest.raises(Unauthorized) as raised:
        bench(answer(401, {"exception_message": "Unauthorized"}), **settings).session.send(READ)
    assert raised.value.help == help_


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (401, {"exception_message": "Unauthorized"}, Unauthorized, "does not accept"),
        (403, {"detail": "reserved"}, Unauthorized, "automation x: not allowed.*: reserved"),
        (404, {"detail": "Work pool 'a' not found."}, NotFound, "automation x: not found: Work"),
        (409, {"detail": "exists already"}, Conflict, "automation x: .*: exists already"),
        (
            422,
            {
                "exception_message": "Invalid request received.",
                "exception_detail": [
                    {"type": "x", "loc": ["body", "tags", 0], "msg": "not text", "input": "s3cret"}
                ],
                "request_body": {"tags": ["s3cret"]},
            },
            Rejected,
            r"automation x: not accepted by the server: 'tags\[0\]': not text$",
        ),
        (
            422,
            {"detail": [{"loc": ["body", "CronSchedule", "cron"], "msg": "Value error, bad"}]},
            Rejected,
            ": 'cron': bad$",
        ),
        (405, {"detail": "Method Not Allowed"}, NotFound, "there is no Prefect API"),
        (418, "what", Rejected, "not accepted by the server$"),
    ],
)
def test_refusals_name_the_object_and_the_field(
    status: int, body: Any, kind: type[ApiError], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised:
        bench(answer(status, body)).session.send(CREATE)
    assert "s3cret" not in str(raised.value)
    assert raised.value.status == status


def test_values_that_the_server_repeats_are_left_out() -> None:
    request = Request("POST", "/deployments/", {"job_variables": {"env": {"A": "hunter2"}}})
    body = {"detail": "Validation failed for 'env'. Reason: {'A': 'hunter2'} is not text"}
    with pytest.raises(Rejected) as raised:
        bench(answer(422, body)).session.send(request)
    assert "hunter2" not in raised.value.message
    assert "Validation failed for 'env'" in raised.value.message


@pytest.mark.parametrize(
    ("url", "help_"),
    [
        ("http://prefect.test", "Did you mean 'http://prefect.test/api'?"),
        ("http://prefect.test/api", "The address comes from a test."),
    ],
)
@pytest.mark.parametrize(
    "step",
    [
        answer(404, {"detail": "Not Found"}),
        httpx.Response(200, html="<!DOCTYPE html>"),
        httpx.Response(404, text="404 page not found"),
    ],
)
def test_an_address_that_is_no_api(url: str, help_: str, step: httpx.Response) -> None:
    with pytest.raises(NotFound, match="there is no Prefect API at") as raised:
        bench(step, api_url=url).session.send(Request("GET", "/admin/version"))
    assert raised.value.help == help_


def test_a_missing_object_of_a_new_session_is_not_a_missing_api() -> None:
    with pytest.raises(NotFound, match="flow hello: not found: Flow not found"):
        bench(answer(404, {"detail": "Flow not found"})).session.send(READ)


def test_credentials_in_the_address_are_not_shown() -> None:
    with pytest.raises(Unreachable) as raised:
        bench(REFUSED, api_url="http://me:hunter2@prefect.test/api").session.send(READ)
    assert "hunter2" not in raised.value.message
