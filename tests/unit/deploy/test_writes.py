"""Writes of resources that another command writes at the same time."""

from __future__ import annotations

import pytest

from deployctl.core.errors import Conflict
from deployctl.core.json_values import Json
from deployctl.deploy.desired import variable, work_pool
from deployctl.deploy.plan import compare
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.deploy.resources.automations import desired_automation
from deployctl.project.triggers import automations
from tests.unit.deploy.answers import KEY, NOTHING, V3


@pytest.mark.parametrize(("own", "other"), [("1", "2"), ("2", "1")])
def test_of_two_equal_automations_the_older_one_stays(own: str, other: str) -> None:
    (body,) = automations("daily", [{"expect": ["a"]}])
    change = compare(desired_automation(KEY, body), None, lambda *_: NOTHING, V3)
    requests = RESOURCE_KINDS["automation"].write(change, "d-1", V3)
    (create,) = next(requests)
    assert create.method == "POST"
    requests.send([{"id": f"a-{own}"}])

    def found(number: str, deployment: str = "d-1") -> Json:
        action = {"type": "run-deployment", "deployment_id": deployment}
        return {"id": f"a-{number}", "created": f"2026-01-0{number}", "actions": [action]}

    (delete,) = requests.send([[found(own), found(other), found("3", "d-other")]])
    assert (delete.method, delete.path) == ("DELETE", "/automations/a-2")
    with pytest.raises(StopIteration) as stop:
        requests.send([None])
    assert stop.value.value == "a-1"


def test_pool_that_was_just_created_is_updated() -> None:
    pool = work_pool({"name": "p", "type": "process", "description": "d"})
    change = compare(pool, None, lambda *_: NOTHING, V3)
    requests = RESOURCE_KINDS["work_pool"].write(change, "", V3)
    next(requests)
    (read,) = requests.throw(Conflict("taken"))
    assert read.method == "GET"
    (update,) = requests.send([{"name": "p", "type": "process"}])
    assert (update.method, update.body) == ("PATCH", {"description": "d"})


def test_pool_that_was_just_created_with_another_type_is_a_conflict() -> None:
    change = compare(work_pool({"name": "p", "type": "process"}), None, lambda *_: NOTHING, V3)
    requests = RESOURCE_KINDS["work_pool"].write(change, "", V3)
    next(requests)
    requests.throw(Conflict("taken"))
    with pytest.raises(Conflict, match="with the type 'docker' at the same time"):
        requests.send([{"name": "p", "type": "docker"}])


def test_variable_that_was_just_created_is_updated() -> None:
    change = compare(variable({"name": "v", "value": 1}, V3), None, lambda *_: NOTHING, V3)
    requests = RESOURCE_KINDS["variable"].write(change, "", V3)
    (create,) = next(requests)
    assert (create.method, create.body) == ("POST", {"name": "v", "value": 1})
    (update,) = requests.throw(Conflict("taken"))
    assert (update.method, update.path, update.body) == (
        "PATCH",
        "/variables/name/v",
        {"value": 1},
    )
