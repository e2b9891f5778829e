"""Sessions: retries, CSRF tokens, credentials, and error messages."""

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
from tests.unit.api.network import API, STARTING, answer, scripted_session

READ = Request("GET", "/flows/1", subject="flow hello")
CREATE = Request("POST", "/automations/", {"name": "x"}, idempotent=False, subject="automation x")

REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.RemoteProtocolError("Server disconnected without sending a response.")
SLOW = httpx.ReadTimeout("timed out")


def test_returns_response_body() -> None:
    client = scripted_session(answer(200, {"id": "1"}))
    assert client.session.send(READ) == {"id": "1"}
    assert str(client.network.requests[0].url) == f"{API}/flows/1"


def test_empty_response_is_none() -> None:
    assert scripted_session(httpx.Response(204)).session.send(READ) is None


def test_sends_body_as_utf8_json() -> None:
    client = scripted_session(answer(200))
    client.session.send(Request("POST", "/flows/", {"name": "資料"}))
    assert client.network.requests[0].content == '{"name":"資料"}'.encode()
    assert client.network.requests[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_rejects_unserializable_value_before_sending(value: Any) -> None:
    client = scripted_session(answer(200))
    with pytest.raises(Rejected, match="flow hello: contains a value that JSON cannot represent"):
        client.session.send(Request("POST", "/flows/", {"x": value}, subject="flow hello"))
    assert client.network.requests == []


def test_404_is_none_with_missing_ok() -> None:
    client = scripted_session(answer(404, {"detail": "Flow not found"}))
    assert client.session.send(Request("GET", "/flows/1", missing_ok=True)) is None


@pytest.mark.parametrize("step", [answer(500), answer(502), answer(408), BROKEN, SLOW])
def test_retries_failures(step: httpx.Response | Exception) -> None:
    client = scripted_session(step, step, answer(200, 1))
    assert client.session.send(READ) == 1
    assert len(client.network.requests) == 3


def test_gives_up_after_max_retries() -> None:
    client = scripted_session(
        answer(500, {"exception_message": "Internal Server Error"}), max_retries=3
    )
    with pytest.raises(ServerError, match=r"flow hello: the server at .* failed with status 500"):
        client.session.send(READ)
    assert len(client.network.requests) == 4
    assert client.waits == [0.2, 0.4, 0.8]


def test_max_retries_0_means_one_attempt() -> None:
    client = scripted_session(answer(500), max_retries=0)
    with pytest.raises(ServerError):
        client.session.send(READ)
    assert (len(client.network.requests), client.waits) == (1, [])


@pytest.mark.parametrize("step", [answer(500), answer(502), answer(504), BROKEN, SLOW])
def test_does_not_repeat_non_idempotent_request(
    step: httpx.Response | Exception,
) -> None:
    client = scripted_session(step, answer(200))
    with pytest.raises(LostResponse, match="automation x: sent, but"):
        client.session.send(CREATE)
    assert len(client.network.requests) == 1


@pytest.mark.parametrize("step", [answer(503), answer(429), REFUSED])
def test_repeats_non_idempotent_request_that_was_refused(
    step: httpx.Response | Exception,
) -> None:
    client = scripted_session(step, answer(201, 1))
    assert client.session.send(CREATE) == 1


def test_honours_retry_after() -> None:
    client = scripted_session(answer(500, Retry_After="7"), answer(200))
    client.session.send(READ)
    assert client.waits == [7.0]


def test_reports_long_wait() -> None:
    client = scripted_session(answer(500, Retry_After="7"), answer(200))
    client.session.send(READ)
    assert client.progress.lines == [f"{API}: status 500; retrying in 7 s"]


def test_waits_for_end_of_maintenance_without_limit() -> None:
    down = answer(503, Prefect_Maintenance="true")
    client = scripted_session(*[down] * 50, answer(200, 1), max_retries=1)
    assert client.session.send(READ) == 1
    assert "under maintenance" in client.progress.lines[0]


def test_gives_up_quickly_on_server_that_never_responded() -> None:
    client = scripted_session(REFUSED, max_retries=100)
    with pytest.raises(Unreachable, match=r"the server at 'http://prefect\.test/api'") as raised:
        client.session.send(READ)
    assert sum(client.waits) < 2
    assert raised.value.help == "The address comes from a test."


def test_waits_half_a_minute_for_restarting_server() -> None:
    client = scripted_session(answer(200), *[REFUSED] * 5, answer(200, 2))
    client.session.send(READ)
    assert client.session.send(READ) == 2
    assert client.waits == [1, 2, 4, 8, 16]


def test_refusals_caused_by_own_concurrency_are_not_counted() -> None:
    client = scripted_session(*[answer(503)] * 4, answer(200, 1), max_retries=0)
    assert client.session.send(READ) == 1  # 16 → 8 → 4 → 2 → 1
    assert max(client.waits) < 0.5


def test_gives_up_on_server_that_always_refuses() -> None:
    client = scripted_session(answer(503), max_retries=2)
    with pytest.raises(ServerError):
        client.session.send(READ)


def test_retries_extra_codes() -> None:
    client = scripted_session(answer(423), answer(201, 1), retry_extra_codes=frozenset({423}))
    assert client.session.send(CREATE) == 1


def test_cancelled_session_sends_nothing() -> None:
    client = scripted_session(answer(200))
    client.session.cancellation.cancel(signal.SIGTERM)
    with pytest.raises(Interrupted) as raised:
        client.session.send(READ)
    assert raised.value.exit_code == 143
    assert client.network.requests == []


def test_cancelled_session_finishes_started_change_without_retries() -> None:
    client = scripted_session(answer(200, 1), answer(500))
    client.session.cancellation.cancel()
    assert client.session.send(READ, finish=True) == 1
    with pytest.raises(Interrupted):
        client.session.send(READ, finish=True)
    assert client.waits == []


def csrf_server(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/csrf-token"):
        client = request.url.params["client"]
        return answer(200, {"token": f"token of {client}", "client": client, "expiration": ""})
    client = request.headers.get("prefect-csrf-client")
    if request.headers.get("prefect-csrf-token") is None:
        return answer(403, {"detail": "Missing CSRF token."})
    if request.headers["prefect-csrf-token"] != f"token of {client}":
        return answer(403, {"detail": "Invalid CSRF token or client identifier."})
    return answer(200, request.url.path)


def test_fetches_csrf_token_once_when_required() -> None:
    client = scripted_session(csrf_server)
    search = Request("POST", "/flows/filter", {})
    assert client.session.send(search) == "/api/flows/filter"
    assert client.session.send(CREATE) == "/api/automations/"
    paths = [request.url.path.removeprefix("/api") for request in client.network.requests]
    assert paths == ["/flows/filter", "/csrf-token", "/flows/filter", "/automations/"]


def test_fetches_no_csrf_token_when_not_required() -> None:
    client = scripted_session(answer(200))
    client.session.send(CREATE)
    assert len(client.network.requests) == 1


def test_renews_expired_csrf_token() -> None:
    client = scripted_session(
        csrf_server,
        csrf_server,
        csrf_server,
        answer(403, {"detail": "Invalid CSRF token"}),
        csrf_server,
    )
    client.session.send(CREATE)
    assert client.session.send(CREATE) == "/api/automations/"


def test_error_names_disabled_csrf_support() -> None:
    client = scripted_session(csrf_server, csrf_support=False)
    with pytest.raises(Unauthorized) as raised:
        client.session.send(CREATE)
    assert raised.value.help == "Set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true."


def test_gives_up_when_no_token_is_accepted() -> None:
    client = scripted_session(
        lambda request: (
            answer(200, {"token": "wrong"})
            if request.method == "GET"
            else answer(403, {"detail": "Invalid CSRF token or client identifier."})
        )
    )
    with pytest.raises(Unauthorized):
        client.session.send(CREATE)
    assert len(client.network.requests) == 5


@pytest.mark.parametrize("status", [404, 422])
def test_server_without_csrf_tokens_is_not_retried(status: int) -> None:
    client = scripted_session(answer(403, {"detail": "Missing CSRF token."}), answer(status))
    with pytest.raises(Unauthorized):
        client.session.send(CREATE)


def test_wait_for_api_returns_when_healthy() -> None:
    client = scripted_session(*STARTING, answer(200, True))
    client.session.wait_for_api(60)
    assert {request.url.path for request in client.network.requests} == {"/api/health"}


def test_wait_for_api_times_out() -> None:
    client = scripted_session(REFUSED)
    with pytest.raises(Unreachable):
        client.session.wait_for_api(10)
    assert sum(client.waits) == pytest.approx(10, abs=0.1)


def test_wait_for_api_names_last_status() -> None:
    client = scripted_session(answer(502))
    with pytest.raises(Unreachable, match=r"is not healthy \(status 502\)"):
        client.session.wait_for_api(3)


def test_missing_server_error_says_how_to_set_one() -> None:
    with pytest.raises(SettingsError, match="no Prefect server is set") as raised:
        Session(Settings())
    assert raised.value.help is not None
    for place in ("--api-url", "PREFECT_API_URL", "profile"):
        assert place in raised.value.help


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
def test_authorization_header(settings: Settings, sent: str | None) -> None:
    lower = {name.lower(): value for name, value in headers(settings).items()}
    assert lower.get("authorization") == sent


def test_custom_headers_cannot_replace_own_headers() -> None:
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
def test_401_names_source_of_credentials(settings: dict[str, Any], help_: str) -> None:
    client = scripted_session(answer(401, {"exception_message": "Unauthorized"}), **settings)
    with pytest.raises(Unauthorized) as raised:
        client.session.send(READ)
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
            r"automation x: rejected by the server: 'tags\[0\]': not text$",
        ),
        (
            422,
            {"detail": [{"loc": ["body", "CronSchedule", "cron"], "msg": "Value error, bad"}]},
            Rejected,
            ": 'cron': bad$",
        ),
        (405, {"detail": "Method Not Allowed"}, NotFound, "there is no Prefect API"),
        (418, "what", Rejected, "rejected by the server$"),
    ],
)
def test_error_names_object_and_field(
    status: int, body: Any, kind: type[ApiError], text: str
) -> None:
    with pytest.raises(kind, match=text) as raised:
        scripted_session(answer(status, body)).session.send(CREATE)
    assert "s3cret" not in str(raised.value)
    assert raised.value.status == status


def test_error_omits_values_of_request() -> None:
    request = Request("POST", "/deployments/", {"job_variables": {"env": {"A": "hunter2"}}})
    body = {"detail": "Validation failed for 'env'. Reason: {'A': 'hunter2'} is not text"}
    with pytest.raises(Rejected) as raised:
        scripted_session(answer(422, body)).session.send(request)
    assert "hunter2" not in raised.value.message
    assert "Validation failed for 'env'" in raised.value.message


@pytest.mark.parametrize(
    ("url", "help_"),
    [
        ("http://prefect.test", "Did you mean 'http://prefect.test/api'?"),
        ("http://api/Api/flows", "Did you mean 'http://api/api'?"),
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
def test_address_that_is_no_prefect_api(url: str, help_: str, step: httpx.Response) -> None:
    with pytest.raises(NotFound, match="there is no Prefect API at") as raised:
        scripted_session(step, api_url=url).session.send(Request("GET", "/admin/version"))
    assert raised.value.help == help_


def test_404_of_an_object_is_not_a_missing_api() -> None:
    with pytest.raises(NotFound, match="flow hello: not found: Flow not found"):
        scripted_session(answer(404, {"detail": "Flow not found"})).session.send(READ)


def test_masks_credentials_in_address() -> None:
    with pytest.raises(Unreachable) as raised:
        scripted_session(REFUSED, api_url="http://me:hunter2@prefect.test/api").session.send(READ)
    assert "hunter2" not in raised.value.message
