from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.deploy.apply import verify
from deployctl.deploy.desired import deployment
from deployctl.deploy.model import Result, ResultStatus
from deployctl.deploy.plan import compare
from tests.unit.deploy.answers import KEY, SCHEMA, V3, answer

CODE = {"entrypoint": "a.py:hello", "parameter_openapi_schema": SCHEMA, "work_pool_name": "pool"}


def read_back(found: list[Json]) -> Result:
    """What becomes of an applied deployment with tags ["ours"] when this is what is there."""
    want = deployment(KEY, {**CODE, "tags": ["ours"]}, None)
    change = compare(want, None, lambda *_: frozenset(), V3)
    talk = verify([Result(change, ResultStatus.APPLIED, done=("written",))], V3)
    next(talk)
    flows = [{"id": "f-1", "name": "hello"}]
    with pytest.raises(StopIteration) as stop:
        talk.send([flows, found])
    (result,) = stop.value.value
    assert isinstance(result, Result)
    return result


def test_what_is_as_it_was_written_is_applied() -> None:
    assert read_back([answer(tags=["ours"])]).status is ResultStatus.APPLIED


@pytest.mark.parametrize(
    ("found", "named"), [([answer(tags=["theirs"])], "tags"), ([], "it was deleted")]
)
def test_a_lost_race_is_a_failure_that_says_what_somebody_else_changed(
    found: list[Json], named: str
) -> None:
    result = read_back(found)
    assert result.status is ResultStatus.FAILED
    assert result.error is not None
    assert named in result.error.message
    assert "Run the same command again" in str(result.error.help)
