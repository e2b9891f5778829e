"""Sessions, dialects and drivers with real servers and a fault-injecting proxy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import pytest

from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import detect, fetch_refined, parse_dialect, refine
from deployctl.api.driver import run, run_all
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.core.errors import LostResponse, NotFound, Rejected, Unauthorized
from deployctl.core.json_values import Json
from deployctl.project.resources import fields_of
from tests.integration.conftest import FreshServer
from tests.support.proxy import Proxy
from tests.support.servers import OTHER_VERSIONS, PREFECT_2, PREFECT_3, Server
from tests.support.waiting import TIMEOUT

ProxyFactory = Callable[[Server], Proxy]
VERSIONS = [PREFECT_3, PREFECT_2]


def connect(url: str, **settings: Json) -> Session:
    return Session(Settings(api_url=url, sources={"api_url": "a test"}, **settings))


def flow(session: Session, name: str) -> str:
    response = run(
        call(Request("POST", "/flows/", {"name": name}, subject=f"flow {name}")), session
    )
    return str(response["id"])


def deploy(flow_id: str, name: str) -> ApiCall[str]:
    body = {"name": name, "flow_id": flow_id}
    response = yield from call(Request("POST", "/deployments/", body, subject=f"deployment {name}"))
    return str(response["id"])


def test_detects_dialect(server: Server) -> None:
    with connect(server.api_url) as session:
        assert run(detect(), session) == parse_dialect(server.version)


@pytest.mark.parametrize("version", [*VERSIONS, *OTHER_VERSIONS])
def test_field_table_agrees_with_openapi_document(version: str, fresh_server: FreshServer) -> None:
    """The server accepts every field of the table, and no useful field is missing from it."""
    with connect(fresh_server(version).api_url) as session:
        dialect = run(detect(), session)
        own = run(fetch_refined(dialect), session)
    excluded = {
        "infrastructure_document_id manifest_path",  # blocks that workers replaced
        "schedule is_schedule_active job_variables",  # 2.x: superseded by schedules,
        "max_active_runs catchup",  # paused and infra_overrides, or unused
        "filter last_polled",  # written by workers and old queues
    }
    unused = {name for names in excluded for name in names.split()}
    assert refine(dialect, None) == dialect
    for kind, op in own.server_fields:
        ours = {
            dialect.name_of(field)
            for field in fields_of(kind).values()
            if dialect.accepts(kind, field, op)
        }
        theirs = own.server_fields[kind, op]
        assert ours <= theirs, (kind, op)
        extra = unused if kind != "schedule" else unused - {"schedule"}
        assert theirs - ours <= extra, (kind, op)


@pytest.mark.parametrize("version", VERSIONS)
def test_hundred_concurrent_writes_succeed(version: str, fresh_server: FreshServer) -> None:
    server = fresh_server(version)
    with connect(server.api_url) as session:
        parent = flow(session, "many")
        calls = {number: deploy(parent, f"d{number}") for number in range(100)}
        results = run_all(calls, session)
        assert [key for key, result in results.items() if not result.ok] == []
        assert run(call(Request("POST", "/deployments/count", {})), session) == 100


def test_parallel_reads_keep_their_order(server: Server) -> None:
    def read_all() -> ApiCall[list[str]]:
        batch = [Request("GET", f"/flows/{each}") for each in ids]
        return [response["id"] for response in (yield batch)]

    with connect(server.api_url) as session:
        ids = [flow(session, f"session-read-{number}") for number in range(20)]
        assert run(read_all(), session) == ids


@pytest.mark.parametrize("version", VERSIONS)
def test_csrf_protection(version: str, fresh_server: FreshServer, proxy: ProxyFactory) -> None:
    server = fresh_server(version, csrf=True, scheduler=False)
    through = proxy(server)
    with connect(through.api_url) as session:
        flow(session, "guarded")
        found = session.send(Request("POST", "/flows/filter", {}))
    assert [each["name"] for each in found] == ["guarded"]
    paths = [path for path, _ in groupby(exchange.path for exchange in through.exchanges)]
    assert paths == ["/flows/", "/csrf-token", "/flows/", "/flows/filter"]


def test_fetches_no_csrf_token_without_csrf_protection(server: Server, proxy: ProxyFactory) -> None:
    through = proxy(server)
    with connect(through.api_url) as session:
        flow(session, "session-unguarded")
    assert {exchange.path for exchange in through.exchanges} == {"/flows/"}


def test_auth_string(fresh_server: FreshServer) -> None:
    server = fresh_server(PREFECT_3, auth="admin:pass", scheduler=False)
    with connect(server.api_url, auth_string="admin:pass", api_key="unused") as session:
        assert run(detect(), session).major == 3
    for wrong in ({}, {"auth_string": "admin:wrong"}, {"api_key": "pnu_1234"}):
        with connect(server.api_url, **wrong) as session, pytest.raises(Unauthorized) as raised:
            session.send(Request("POST", "/flows/filter", {}))
        assert "wrong" not in f"{raised.value} {raised.value.help}"


def test_repeats_request_after_lost_response(server: Server, proxy: ProxyFactory) -> None:
    through = proxy(server)
    through.drop_answer(method="POST", path="^/flows/$")
    with connect(through.api_url) as session:
        run(detect(), session)
        assert flow(session, "session-lost")
    assert len(through.seen("POST", "^/flows/$")) >= 2


def test_reports_lost_response_of_non_idempotent_request(
    server: Server, proxy: ProxyFactory
) -> None:
    through = proxy(server)
    through.drop_answer(method="POST", path="^/variables/$")
    name = f"session_lost_{server.major}"
    create = Request("POST", "/variables/", {"name": name, "value": "x"}, idempotent=False)
    with connect(through.api_url) as session:
        with pytest.raises(LostResponse):
            session.send(create)
        assert session.send(Request("GET", f"/variables/name/{name}"))["value"] == "x"
    assert len(through.seen("POST", "^/variables/$")) == 1


def test_retries_busy_server(server: Server, proxy: ProxyFactory) -> None:
    through = proxy(server)
    through.answer(503, times=3)
    through.answer(429, headers={"Retry-After": "0"})
    with connect(through.api_url) as session:
        assert flow(session, "session-busy")


@pytest.mark.parametrize("version", VERSIONS)
def test_survives_restart_of_server(version: str, fresh_server: FreshServer) -> None:
    server = fresh_server(version)
    with connect(server.api_url, max_retries=10) as session:
        parent = flow(session, "restarted")
        server.kill()
        with ThreadPoolExecutor() as pool:
            calls = {n: deploy(parent, f"d{n}") for n in range(20)}
            running = pool.submit(run_all, calls, session)
            server.start()
            results = running.result()
        assert [str(each.error) for each in results.values() if not each.ok] == []


def test_suggests_api_suffix(server: Server) -> None:
    with connect(server.api_url.removesuffix("/api")) as session, pytest.raises(NotFound) as raised:
        run(detect(), session)
    assert raised.value.help == f"Did you mean '{server.api_url}'?"


def test_error_names_object_and_fields(server: Server) -> None:
    body = {"name": "x", "flow_id": "no-uuid", "unknown": "hunter2"}
    with connect(server.api_url) as session, pytest.raises(Rejected) as raised:
        session.send(Request("POST", "/deployments/", body, subject="deployment hello/x"))
    message = raised.value.message
    assert message.startswith("deployment hello/x: rejected by the server: ")
    assert "'flow_id'" in message
    assert "'unknown'" in message
    assert "hunter2" not in message


def test_waits_for_server_to_start(fresh_server: FreshServer) -> None:
    server = fresh_server(PREFECT_3)
    server.kill()
    with connect(server.api_url) as session, ThreadPoolExecutor() as pool:
        waiting = pool.submit(session.wait_for_api, TIMEOUT)
        server.start()
        waiting.result()
        assert run(detect(), session) == parse_dialect(PREFECT_3)
