"""Every difference between file and server is deployed once, and nothing else is: on real servers.

All cases of a server are deployments of one file: deployed as they are before, planned (no change),
changed, planned (each is an update), deployed, and planned again (no change).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.project_harness import ProjectHarness, entry
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3

EVENTS_OF_2 = {
    "PREFECT_EXPERIMENTAL_EVENTS": "true",
    "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "true",
}


def variables(**values: Any) -> dict[str, Any]:
    return {"work_pool": {"name": "pool", "job_variables": values}}


def triggers(**keys: Any) -> dict[str, Any]:
    return {"triggers": [{"expect": ["a", "b"], "for_each": ["y", "x"], **keys}]}


def schedules(*items: Any) -> dict[str, Any]:
    return {"schedules": list(items)}


MATCH = {"a": "1", "env": ["x", "y"]}
DAILY = {"cron": "0 7 * * *"}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "integer to float": (variables(n=1), variables(n=1.0)),
    "integer to boolean": (variables(n=1), variables(n=True)),
    "float to integer in a list": (variables(n=[1.0]), variables(n=[1])),
    "fewer job variables": (variables(a=1, b=2), variables(a=1)),
    "fewer nested job variables": (variables(a={"b": 1, "c": None}), variables(a={"b": 1})),
    "boolean to text": (variables(n=True), variables(n="true")),
    "large float": (variables(n=1e300), variables(n=1e299)),
    "pull step": (
        {"pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "/a"}}]},
        {"pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "/b"}}]},
    ),
    "fewer labels": (triggers(match=MATCH), triggers(match={"a": "1"})),
    "no labels": (triggers(match=MATCH), triggers()),
    "more labels": (triggers(match={"a": "1"}), triggers(match=MATCH)),
    "fewer related labels": (
        triggers(match_related={"a": "1", "b": "2"}),
        triggers(match_related={"a": "1"}),
    ),
    "fewer labels of an inner trigger": (
        {"triggers": [{"require": "all", "triggers": [{"expect": ["a"], "match": MATCH}]}]},
        {"triggers": [{"require": "all", "triggers": [{"expect": ["a"], "match": {"a": "1"}}]}]},
    ),
    "fewer parameters of a trigger": (
        triggers(parameters={"name": "x", "times": 1}),
        triggers(parameters={"name": "x"}),
    ),
    "no parameters of a trigger": (triggers(parameters={"name": "x"}), triggers()),
    "fewer job variables of a trigger": (
        triggers(job_variables={"a": 1, "b": 1}),
        triggers(job_variables={"a": 1}),
    ),
    "type in job variables of a trigger": (
        triggers(job_variables={"a": 1}),
        triggers(job_variables={"a": True}),
    ),
    "fewer events": (triggers(), {"triggers": [{"expect": ["a"], "for_each": ["x", "y"]}]}),
    "window": (triggers(within=5), triggers(within=5.5)),
    "interval": (schedules({"interval": 3600}), schedules({"interval": 3601})),
    "cron": (schedules(DAILY), schedules({"cron": "0 8 * * *"})),
    "day_or": (
        schedules({"cron": "0 7 1 * 1"}),
        schedules({"cron": "0 7 1 * 1", "day_or": False}),
    ),
    "rrule": (schedules({"rrule": "FREQ=DAILY"}), schedules({"rrule": "FREQ=WEEKLY"})),
    "anchor": (
        schedules({"interval": 60, "anchor_date": "2026-01-01T00:00:00+00:00"}),
        schedules({"interval": 60, "anchor_date": "2026-01-01T00:00:01Z"}),
    ),
}
ONLY_3: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "type in parameters of a schedule": (
        schedules({**DAILY, "parameters": {"name": 1}}),
        schedules({**DAILY, "parameters": {"name": 1.0}}),
    ),
    "fewer parameters of a schedule": (
        schedules({**DAILY, "parameters": {"name": "x", "times": 1}}),
        schedules({**DAILY, "parameters": {"name": "x"}}),
    ),
    "delay of a trigger": (triggers(schedule_after=3), triggers(schedule_after=4)),
    "lists of related labels": (
        triggers(match_related=[{"a": "1"}, {"b": "2"}]),
        triggers(match_related=[{"a": "1"}, {"b": "2", "c": "3"}]),
    ),
    "concurrency options": (
        {"concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"}},
        {"concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"}},
    ),
}
EQUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (schedules({"interval": 3600}), schedules({"interval": 3600.0})),
    (schedules({"interval": "PT1H"}), schedules({"interval": 3600})),
    (schedules(DAILY), schedules({"cron": "0  7 * * *", "timezone": "UTC", "day_or": True})),
    (triggers(within=5), triggers(within=5.0)),
    (triggers(match=MATCH), triggers(match={"env": ["y", "x"], "a": "1"})),
    (triggers(), {"triggers": [{"expect": ["b", "a"], "for_each": ["x", "y"]}]}),
    (variables(a=1, b={"c": 2, "d": 3}), variables(b={"d": 3, "c": 2}, a=1)),
    ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}),
]


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def project(
    request: pytest.FixtureRequest, fresh_server: FreshServer, in_process_cli: Cli, tmp_path: Path
) -> Iterator[ProjectHarness]:
    """A project on a server that has automations."""
    env = EVENTS_OF_2 if request.param == PREFECT_2 else {}
    server = fresh_server(request.param, env=env, scheduler=False)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        yield ProjectHarness(tmp_path, api, proxy, in_process_cli, server.major, server.api_url)


def test_each_difference_is_deployed_once(project: ProjectHarness) -> None:
    cases = {**CASES, **(ONLY_3 if project.major == 3 else {})}
    before = [entry(name=name, **fields) for name, (fields, _) in cases.items()]
    after = [entry(name=name, **fields) for name, (_, fields) in cases.items()]
    project.write(before)
    project.deploy()
    assert project.ops() == {}
    project.write(after)
    changes = project.run("plan", "--all")["changes"]
    assert [each["name"] for each in changes if each["op"] != "update"] == []
    project.deploy()
    assert project.ops() == {}


def test_equal_meanings_are_no_difference(project: ProjectHarness) -> None:
    project.write([entry(name=f"d{n}", **fields) for n, (fields, _) in enumerate(EQUAL)])
    project.deploy()
    project.write([entry(name=f"d{n}", **fields) for n, (_, fields) in enumerate(EQUAL)])
    assert project.ops() == {}
    project.deploy()
    assert project.proxy.writes == []


def test_schedule_switched_off_in_the_ui_does_not_switch_off_another(
    project: ProjectHarness,
) -> None:
    if project.major == 2:
        pytest.skip("schedules have no parameters on 2.20")
    first, second = ({**DAILY, "parameters": {"times": n}} for n in (1, 2))
    project.write([entry(schedules=[first, second])])
    project.deploy()
    live = project.live()
    off, on = sorted(live["schedules"], key=lambda each: each["parameters"]["times"])
    path = f"/deployments/{live['id']}/schedules/{off['id']}"
    # The server empties the parameters that a PATCH leaves out (3.9.1).
    project.api.call("PATCH", path, {"active": False, "parameters": off["parameters"]})

    project.write([entry(schedules=[second, first])])
    assert project.ops() == {}
    project.write([entry(schedules=[second])])
    project.deploy()
    (left,) = project.live()["schedules"]
    assert (left["id"], left["active"]) == (on["id"], True)


def test_delay_of_a_trigger_is_left_out_with_a_warning(project: ProjectHarness) -> None:
    project.write([entry(**triggers(schedule_after=3))])
    codes = [each["code"] for each in project.deploy()["diagnostics"]]
    assert codes == ([] if project.major == 3 else ["DC512"])
    assert project.ops() == {}


def test_a_limited_schedule_keeps_its_parameters(project: ProjectHarness) -> None:
    """The limit is sent in a PATCH of its own, which must not empty the parameters."""
    parameters = {"parameters": {"times": 3}} if project.major == 3 else {}
    project.write([entry(schedules=[{**DAILY, "max_scheduled_runs": 5, **parameters}])])
    project.deploy()
    (schedule,) = project.live()["schedules"]
    assert schedule["max_scheduled_runs"] == 5
    assert (schedule.get("parameters") or {}) == parameters.get("parameters", {})
    assert project.ops() == {}


def test_changed_schedule_keeps_what_the_ui_set(project: ProjectHarness) -> None:
    project.write([entry(schedules=[DAILY])])
    project.deploy()
    live = project.live()
    set_in_ui: dict[str, Any] = {"active": False, "max_scheduled_runs": 4}
    if project.major == 3:
        set_in_ui["parameters"] = {"times": 3}
    path = f"/deployments/{live['id']}/schedules/{live['schedules'][0]['id']}"
    project.api.call("PATCH", path, set_in_ui)
    project.write([entry(schedules=[{"cron": "0 8 * * *"}])])
    project.deploy()
    (schedule,) = project.live()["schedules"]
    assert schedule["schedule"]["cron"] == "0 8 * * *"
    assert {name: schedule[name] for name in set_in_ui} == set_in_ui
