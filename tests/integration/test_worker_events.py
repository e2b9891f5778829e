"""What a worker reports about its runs, as real servers store it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from deployctl.api.dialect import parse_dialect
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.core.json_values import Json
from deployctl.worker.event_log import Level
from deployctl.worker.model import Run
from deployctl.worker.runtimes.kubernetes.pod_events import pod_event
from deployctl.worker.server.claims import claim
from deployctl.worker.server.events import (
    WorkerIdentity,
    executed,
    send,
    started,
    stopped,
    submitted,
)
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.run_reporter import (
    add_labels,
    set_infrastructure_pending,
    set_pid,
)
from deployctl.worker.server.runs import parse_run
from tests.support.api import Api
from tests.support.servers import Server
from tests.support.waiting import until
from tests.unit.worker.runtimes.kubernetes.objects import ended, pod, running, unscheduled

OWNER = "cluster/flows/pool"


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    with Api(server.api_url) as api:
        yield api


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with Session(Settings(api_url=server.api_url)) as session:
        yield session


def new_run(api: Api, name: str) -> str:
    flow = api.call("POST", "/flows/", {"name": name})
    state = {"type": "SCHEDULED", "name": "Scheduled"}
    return str(api.call("POST", "/flow_runs/", {"flow_id": flow["id"], "state": state})["id"])


def read(api: Api, id: str) -> Json:  # noqa: A002
    return api.call("GET", f"/flow_runs/{id}")


def claimed(api: Api, session: Session, name: str) -> Run:
    id = new_run(api, name)  # noqa: A001
    run(claim(parse_run(read(api, id), OWNER), OWNER, "w", str(uuid.uuid4())), session)
    return parse_run(read(api, id), OWNER)


def stored(api: Api, resource: str, count: int) -> list[Json]:
    """The events about a resource, when there are as many: the server writes them in the end."""
    ask = {"filter": {"resource": {"id": [resource]}, "order": "ASC"}}

    def found() -> list[Json]:
        events: list[Json] = api.call("POST", "/events/filter", ask)["events"]
        return events if len(events) >= count else []

    return until(found, lambda: f"not {count} events about {resource}")


def test_the_server_keeps_each_event_of_a_pod_once(prefect3: Server) -> None:
    uid = str(uuid.uuid4())
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 10))
    meta = {"metadata": pod("Pending")["metadata"] | {"uid": uid, "creationTimestamp": moment}}
    waits = pod_event(unscheduled("1 Insufficient cpu") | meta, now)
    assert waits is not None
    runs = pod_event(pod("Running", running(moment)) | meta, now, waits)
    fails = pod_event(pod("Failed", ended(1), status={"reason": "Evicted"}) | meta, now, runs)
    with Session(Settings(api_url=prefect3.api_url)) as session, Api(prefect3.api_url) as api:
        session.send(send([waits, runs]))
        session.send(send([waits, runs, fails]))
        found = stored(api, f"prefect.kubernetes.pod.{uid}", 3)
    by_name = {each["event"]: each for each in found}
    assert len(found) == len(by_name)
    assert set(by_name) == {
        f"prefect.kubernetes.pod.{name}" for name in ("pending", "running", "evicted")
    }
    pending = by_name["prefect.kubernetes.pod.pending"]["resource"]
    assert pending["kubernetes.diagnosis"] == "Unschedulable.InsufficientResources"
    assert by_name["prefect.kubernetes.pod.running"]["follows"] == waits["id"]


def test_the_server_keeps_what_a_worker_does(prefect3: Server) -> None:
    name = f"worker {uuid.uuid4()}"
    worker = WorkerIdentity(name, "kubernetes", str(uuid.uuid4()), "a pool")
    with Session(Settings(api_url=prefect3.api_url)) as session, Api(prefect3.api_url) as api:
        flow_run = claimed(api, session, "events")
        now = time.time()
        begin, job = started(worker, now - 4), submitted(worker, flow_run, now - 3)
        end = executed(worker, flow_run, now - 2, pid="flows:hello", code=0)
        session.send(send([begin, job, end, stopped(worker, now - 1, begin)]))
        found = stored(api, begin["resource"]["prefect.resource.id"], 4)
    names = {each["event"].removeprefix("prefect.worker.") for each in found}
    assert names == {"started", "submitted-flow-run", "executed-flow-run", "stopped"}
    about = [each["prefect.resource.id"] for each in job["related"]]
    assert f"prefect.flow-run.{flow_run.id}" in about


def test_sends_no_events_to_a_server_without_them(prefect2: Server) -> None:
    worker = WorkerIdentity("w", "kubernetes", str(uuid.uuid4()), "a pool")
    with Session(Settings(api_url=prefect2.api_url)) as session:
        assert session.send(send([started(worker, time.time())])) is None


def test_lines_stand_in_the_log_of_their_run(api: Api, session: Session) -> None:
    id = new_run(api, "logs")  # noqa: A001
    logs = FlowLogs(session.send, time.time)
    logs.emit(id, Level.INFO, "the job is there")
    logs.emit(id, Level.ERROR, "it failed: \0 \udcff é")
    assert logs.flush()
    ask = {"logs": {"flow_run_id": {"any_": [id]}}, "sort": "TIMESTAMP_ASC"}
    found = api.call("POST", "/logs/filter", ask)
    assert [(each["level"], each["name"], each["message"]) for each in found] == [
        (20, "prefect.flow_runs.worker", "the job is there"),
        (40, "prefect.flow_runs.worker", "it failed:  ? é"),
    ]


def test_a_run_shows_its_worker_and_its_job(server: Server, api: Api, session: Session) -> None:
    flow_run = claimed(api, session, "decorated")
    assert run(set_pid(flow_run, "flows:hello"), session) is None
    assert read(api, flow_run.id)["infrastructure_pid"] == "flows:hello"
    if server.major == 3:
        session.send(add_labels(flow_run, {"prefect.worker.name": "w"}))
        assert read(api, flow_run.id)["labels"]["prefect.worker.name"] == "w"


def test_a_run_that_waits_for_its_job_is_still_claimed_by_us(
    server: Server, api: Api, session: Session
) -> None:
    flow_run = claimed(api, session, "waiting")
    dialect = parse_dialect(server.version)
    transition = str(uuid.uuid4())
    assert run(set_infrastructure_pending(flow_run, OWNER, transition, dialect), session) is None
    found = read(api, flow_run.id)
    name = "InfrastructurePending" if dialect.major == 3 else "Pending"
    assert (found["state"]["type"], found["state"]["name"]) == ("PENDING", name)
    assert parse_run(found, OWNER).attempt == flow_run.attempt


def test_a_run_that_has_begun_does_not_wait_again(
    server: Server, api: Api, session: Session
) -> None:
    flow_run = claimed(api, session, "begun")
    state = {"state": {"type": "RUNNING", "name": "Running"}}
    api.call("POST", f"/flow_runs/{flow_run.id}/set_state", state)
    api_call = set_infrastructure_pending(
        flow_run, OWNER, str(uuid.uuid4()), parse_dialect(server.version)
    )
    assert run(api_call, session) is None
    assert read(api, flow_run.id)["state"]["name"] == "Running"
