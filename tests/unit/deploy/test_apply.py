from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.deploy.apply import verify
from deployctl.deploy.desired import deployment
from deployctl.deploy.model import Result, ResultStatus
from deployctl.deploy.plan import compare
from deployctl.project.triggers import automations
from tests.unit.deploy.answers import KEY, SCHEMA, V3, answer

CODE = {"entrypoint": "a.py:hello", "parameter_openapi_schema": SCHEMA, "work_pool_name": "pool"}


def read_back(found: list[Json]) -> Result:
    """The result for an applied deployment with tags ["ours"] if the server returns `found`."""
    want = deployment(KEY, {**CODE, "tags": ["ours"]}, None)
    change = compare(want, None, lambda *_: frozenset(), V3)
    api_call = verify([Result(change, ResultStatus.APPLIED, done=("written",))], V3)
    next(api_call)
    flows = [{"id": "f-1", "name": "hello"}]
    results: list[Result] = []
    try:
        for _ in range(3):
            api_call.send([flows, found])
    except StopIteration as stop:
        results = stop.value
    (result,) = results
    assert isinstance(result, Result)
    return result


def test_result_is_applied_if_server_has_what_was_written() -> None:
    assert read_back([answer(tags=["ours"])]).status is ResultStatus.APPLIED


@pytest.mark.parametrize(
    ("found", "named"), [([answer(tags=["theirs"])], "tags"), ([], "it was deleted")]
)
def test_lost_race_is_a_failure_that_names_changed_fields(found: list[Json], named: str) -> None:
    result = read_back(found)
    assert result.status is ResultStatus.FAILED
    assert result.error is not None
    assert named in result.error.message
    assert "Run the same command again" in str(result.error.help)


def test_difference_that_is_gone_when_it_is_read_again_is_no_failure() -> None:
    want = deployment(KEY, {**CODE, "tags": ["ours"]}, None)
    change = compare(want, None, lambda *_: frozenset(), V3)
    api_call = verify([Result(change, ResultStatus.APPLIED)], V3)
    next(api_call)
    flows = [{"id": "f-1", "name": "hello"}]
    api_call.send([flows, []])
    with pytest.raises(StopIteration) as stop:
        api_call.send([flows, [answer(tags=["ours"])]])
    assert [result.status for result in stop.value.value] == [ResultStatus.APPLIED]


def test_younger_one_of_two_equal_automations_is_deleted_when_it_is_read_back() -> None:
    (body,) = automations("daily", [{"expect": ["a"]}])
    change = compare(deployment(KEY, CODE, [body]), None, lambda *_: frozenset(), V3)
    api_call = verify([Result(change, ResultStatus.APPLIED)], V3)
    next(api_call)
    actions = [{**body["actions"][0], "deployment_id": "d-1"}]
    twins = [{**body, "actions": actions, "id": f"a-{n}", "created": f"2026-01-0{n}"} for n in "21"]
    found = [[{"id": "f-1", "name": "hello"}], [answer()]]
    (delete,) = api_call.send([*found, twins])
    assert (delete.method, delete.path) == ("DELETE", "/automations/a-2")
    api_call.send([None])
    with pytest.raises(StopIteration) as stop:
        api_call.send([*found, twins[1:]])
    assert [result.status for result in stop.value.value] == [ResultStatus.APPLIED]
