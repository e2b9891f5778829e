"""The simulated server of the unit tests has the state rules of real servers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from deployctl.worker.server.runs import parse_run
from tests.support.api import Api
from tests.support.servers import Server
from tests.unit.worker.simulated_server import STATES, Proposed, evaluate


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    with Api(server.api_url) as api:
        yield api


@pytest.fixture(scope="module")
def deployment(api: Api) -> str:
    name = f"rules-{uuid.uuid4().hex[:8]}"
    api.pool(name)
    flow = api.call("POST", "/flows/", {"name": name})["id"]
    body = {"name": name, "flow_id": flow, "work_pool_name": name, "entrypoint": "flows.py:main"}
    found: str = api.call("POST", "/deployments/", body)["id"]
    return found


def a_run(api: Api, deployment: str, state: str, pid: str, *, suspends: bool = False) -> str:
    """A run that is forced into this state."""
    run: str = api.call("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
    if pid:
        api.call("PATCH", f"/flow_runs/{run}", {"infrastructure_pid": pid})
    set_state(api, run, Proposed("RUNNING", "Running", force=True))
    set_state(api, run, Proposed(state, state.title(), "first", force=True, suspends=suspends))
    return run


def set_state(api: Api, run: str, proposed: Proposed) -> Any:
    transition = str(uuid.uuid5(uuid.UUID(run), proposed.transition))
    state = {
        "type": proposed.type,
        "name": proposed.name,
        "message": "why",
        "state_details": {"transition_id": transition, "pause_reschedule": proposed.suspends},
    }
    body = {"state": state, "force": proposed.force}
    return api.call("POST", f"/flow_runs/{run}/set_state", body)


@pytest.mark.parametrize(
    ("before", "suspended"), [*((before, False) for before in STATES), ("PAUSED", True)]
)
def test_each_proposal_is_answered_as_simulated(
    api: Api, server: Server, deployment: str, before: str, suspended: bool
) -> None:
    proposals = [Proposed(after, after.title(), "second") for after in STATES]
    proposals += [Proposed(before, before.title(), "first")]
    proposals += [
        Proposed("PENDING", "InfrastructurePending", "second"),
        Proposed("CANCELLED", "Cancelled", "second", force=True),
    ]
    for pid in ("", "ns:job"):
        for proposed in proposals:
            run = a_run(api, deployment, before, pid, suspends=suspended)
            simulated = {"transition_id": "first", "pause_reschedule": suspended}
            current = {"type": before, "name": before.title(), "state_details": simulated}
            expected = evaluate(current, pid, proposed, server.major)
            answer = set_state(api, run, proposed)
            now = api.call("GET", f"/flow_runs/{run}")["state_type"]
            assert (answer["status"], now) == expected, f"{before}, {pid}: {proposed}"


def test_scheduled_runs_of_a_pool_have_a_state_on_3_only(
    server: Server, api: Api, deployment: str
) -> None:
    run = a_run(api, deployment, "SCHEDULED", "")
    pool = api.call("GET", f"/deployments/{deployment}")["work_pool_name"]
    rows = api.call("POST", f"/work_pools/{pool}/get_scheduled_flow_runs", {})
    [found] = [row["flow_run"] for row in rows if row["flow_run"]["id"] == run]
    assert (found["state"] is None, found["state_type"]) == (server.major == 2, "SCHEDULED")
    assert found["state_id"]


def test_rescheduled_run_keeps_infrastructure_pid(api: Api, deployment: str) -> None:
    run = a_run(api, deployment, "CRASHED", "ns:job")
    set_state(api, run, Proposed("SCHEDULED", "AwaitingRetry", "second"))
    set_state(api, run, Proposed("PENDING", "Pending", "third"))
    assert api.call("GET", f"/flow_runs/{run}")["infrastructure_pid"] == "ns:job"


def test_claim_is_readable_after_later_states(api: Api, deployment: str) -> None:
    run = a_run(api, deployment, "SCHEDULED", "")
    claim = set_state(api, run, Proposed("PENDING", "Pending", "second"))["state"]["id"]
    set_state(api, run, Proposed("RUNNING", "Running", "third"))
    states = api.call("GET", f"/flow_run_states/?flow_run_id={run}")
    [found] = [state for state in states if state["id"] == claim]
    assert (found["type"], found["name"], found["message"]) == ("PENDING", "Pending", "why")


def test_a_retry_in_the_process_is_offered_to_no_worker(api: Api, deployment: str) -> None:
    """Whatever state replaces it: on SIGTERM, by a resume. Only an end makes it claimable again."""
    run = a_run(api, deployment, "PENDING", "ns:job")
    api.call("PATCH", f"/flow_runs/{run}", {"empirical_policy": {"retries": 3, "retry_delay": 0}})
    set_state(api, run, Proposed("RUNNING", "Running", "second"))
    retried = set_state(api, run, Proposed("FAILED", "Failed", "third"))
    assert (retried["status"], retried["state"]["type"]) == ("REJECT", "SCHEDULED")

    def is_offered() -> bool:
        pool = api.call("GET", f"/deployments/{deployment}")["work_pool_name"]
        rows = api.call("POST", f"/work_pools/{pool}/get_scheduled_flow_runs", {})
        offered = run in [row["flow_run"]["id"] for row in rows]
        found = api.call("GET", f"/flow_runs/{run}")
        assert parse_run(found, "me").in_process is not offered
        return offered

    offers = [is_offered()]
    set_state(api, run, Proposed("SCHEDULED", "AwaitingRetry", "fourth"))
    offers.append(is_offered())
    set_state(api, run, Proposed("RUNNING", "Running", "fifth"))
    set_state(api, run, Proposed("PAUSED", "Suspended", "sixth", suspends=True))
    set_state(api, run, Proposed("SCHEDULED", "Resuming", "seventh"))
    offers.append(is_offered())
    set_state(api, run, Proposed("CRASHED", "Crashed", "eighth"))
    set_state(api, run, Proposed("SCHEDULED", "AwaitingRetry", "ninth"))
    assert [*offers, is_offered()] == [False, False, False, True]
