"""Sessions, dialects and drivers with real servers, and with a proxy that breaks things."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import pytest

from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect, detect, fetch_refined, parse_dialect, refine
from deployctl.api.driver import run, run_all
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.core.errors import LostResponse, NotFound, Rejected, Unauthorized
from deployctl.core.json_values import Json
from deployctl.project.resources import fields_of
from tests.integration.conftest import FreshServer
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3, Server
from tests.support.waiting import PATIENCE

Through = Callable[[Server], Proxy]
VERSIONS = [PREFECT_3, PREFECT_2]


def to(url: str, **settings: Json) -> Session:
    return Session(Settings(api_url=url, sources={"api_url": "a test"}, **settings))


def flow(session: Session, name: str) -> str:
    answer = run(call(Request("POST", "/flows/", {"name": name}, subject=f"flow {name}")), session)
    return str(answer["id"])


def deploy(flow_id: str, name: str) -> ApiCall[str]:
    body = {"name": name, "flow_id": flow_id}
    answer = yield from call(Request("POST", "/deployments/", body, subject=f"deployment {name}"))
    return str(answer["id"])


def test_the_dialect_is_the_servers_version(server: Server) -> None:
    with to(server.api_url) as session:
        assert run(detect(), session) == parse_dialect(server.version)


def test_the_table_agrees_with_the_servers_own_schema(server: Server) -> None:
    """Nothing that the table sends is refused, and nothing of use is missing from it."""
    with to(server.api_url) as session:
        dialect = run(detect(), session)
        own = run(fetch_refined(dialect), session)
    left_out = {
        "infrastructure_document_id manifest_path",  # blocks that workers have replaced
        "schedule is_schedule_active job_variables",  # 2.x: what schedules, paused and
        "max_active_runs catchup",  # infra_overrides say better, or nothing reads
        "filter last_polled",  # what workers and old queues write
    }
    unused = {name for names in left_out for name in names.split()}
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
def test_a_hundred_writes_at_once_all_succeed(version: str, fresh_server: FreshServer) -> None:
    server = fresh_server(version)
    with to(server.api_url) as session:
        parent = flow(session, "many")
        talks = {number: deploy(parent, f"d{number}") for number in range(100)}
        outcomes = run_all(talks, session)
        assert [key for key, outcome in outcomes.items() if not outcome.ok] == []
        assert run(call(Request("POST", "/deployments/count", {})), session) == 100


def test_reads_are_sent_side_by_side_and_answered_in_order(server: Server) -> None:
    def talk() -> ApiCall[list[str]]:
        batch = [Request("GET", f"/flows/{each}") for each in ids]
        return [answer["id"] for answer in (yield batch)]

    with to(server.api_url) as session:
        ids = [flow(session, f"session-read-{number}") for number in range(20)]
        assert run(talk(), session) == ids


@pytest.mark.parametrize("version", VERSIONS)
def test_csrf_protection(version: str, fresh_server: FreshServer, proxy: Through) -> None:
    server = fresh_server(version, csrf=True, scheduler=False)
    through = proxy(server)
    with to(through.api_url) as session:
        flow(session, "guarded")
        found = session.send(Request("POST", "/flows/filter", {}))
    assert [each["name"] for each in found] == ["guarded"]
    asked = [path for path, _ in groupby(exchange.path for exchange in through.exchanges)]
    assert asked == ["/flows/", "/csrf-token", "/flows/", "/flows/filter"]


def test_without_csrf_protection_nothing_is_asked_for(server: Server, proxy: Through) -> None:
    through = proxy(server)
    with to(through.api_url) as session:
        flow(session, "session-unguarded")
    assert {exchange.path for exchange in through.exchanges} == {"/flows/"}


def test_a_server_with_an_auth_string(fresh_server: FreshServer) -> None:
    server = fresh_server(PREFECT_3, auth="admin:pass", scheduler=False)
    with to(server.api_url, auth_string="admin:pass", api_key="unused") as session:
        assert run(detect(), session).major == 3
    for wrong in ({}, {"auth_string": "admin:wrong"}, {"api_key": "pnu_1234"}):
        with to(server.api_url, **wrong) as session, pytest.raises(Unauthorized) as raised:
            session.send(Request("POST", "/flows/filter", {}))
        assert "wrong" not in f"{raised.value} {raised.value.help}"


def test_an_answer_that_was_lost_is_asked_for_again(server: Server, proxy: Through) -> None:
    through = proxy(server)
    through.drop_answer(method="POST", path="^/flows/$")
    with to(through.api_url) as session:
        run(detect(), session)
        assert flow(session, "session-lost")
    assert len(through.seen("POST", "^/flows/$")) >= 2


def test_what_must_not_be_repeated_is_reported_as_lost(server: Server, proxy: Through) -> None:
    through = proxy(server)
    through.drop_answer(method="POST", path="^/variables/$")
    name = f"session_lost_{server.major}"
    create = Request("POST", "/variables/", {"name": name, "value": "x"}, idempotent=False)
    with to(through.api_url) as session:
        with pytest.raises(LostResponse):
            session.send(create)
        assert session.send(Request("GET", f"/variables/name/{name}"))["value"] == "x"
    assert len(through.seen("POST", "^/variables/$")) == 1


def test_a_busy_server_is_asked_again(server: Server, proxy: Through) -> None:
    through = proxy(server)
    through.answer(503, times=3)
    through.answer(429, headers={"Retry-After": "0"})
    with to(through.api_url) as session:
        assert flow(session, "session-busy")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_restarts_in_the_middle(version: str, fresh_server: FreshServer) -> None:
    server = fresh_server(version)
    with to(server.api_url, max_retries=10) as session:
        parent = flow(session, "restarted")
        server.kill()
        with ThreadPoolExecutor() as pool:
            talks = {n: deploy(parent, f"d{n}") for n in range(20)}
            running = pool.submit(run_all, talks, session)
            server.start()
            outcomes = running.result()
        assert [str(each.error) for each in outcomes.values() if not each.ok] == []


def test_the_address_without_api_is_answered_with_the_right_one(server: Server) -> None:
    with to(server.api_url.removesuffix("/api")) as session, pytest.raises(NotFound) as raised:
        run(detect(), session)
    assert raised.value.help == f"Did you mean '{server.api_url}'?"


def test_refusals_name_the_object_and_the_fields(server: Server) -> None:
    body = {"name": "x", "flow_id": "no-uuid", "unknown": "hunter2"}
    with to(server.api_url) as session, pytest.raises(Rejected) as raised:
        session.send(Request("POST", "/deployments/", body, subject="deployment hello/x"))
    message = raised.value.message
    assert message.startswith("deployment hello/x: not accepted by the server: ")
    assert "'flow_id'" in message
    assert "'unknown'" in message
    assert "hunter2" not in message


def test_waiting_for_a_server_that_is_not_there_yet(fresh_server: FreshServer) -> None:
    server = fresh_server(PREFECT_3)
    server.kill()
    with to(server.api_url) as session, ThreadPoolExecutor() as pool:
        waiting = pool.submit(session.wait_for_api, PATIENCE)
        server.start()
        waiting.result()
        assert run(detect(), session) == Dialect((3, 8, 8))
