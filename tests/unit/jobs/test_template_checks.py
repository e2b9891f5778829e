"""Base job templates are refused for what the server refuses.

`tests/integration/test_base_job_templates.py` sends `INVALID` and `VALID` to real servers.
"""

from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.jobs.base_job_templates import POOL_TYPES, base_job_template
from deployctl.jobs.template_checks import check_base_job_template
from tests.support.job_templates import INVALID, VALID, template


def found(value: Json) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(problem.code, problem.path) for problem in check_base_job_template(value)]


@pytest.mark.parametrize("name", VALID)
def test_valid_template_is_not_reported(name: str) -> None:
    assert found(VALID[name]) == []


@pytest.mark.parametrize("name", INVALID)
def test_invalid_template_is_reported_at_its_place(name: str) -> None:
    value, code, path = INVALID[name]
    assert found(value) == [(code, path)]


@pytest.mark.parametrize("pool_type", POOL_TYPES)
def test_own_templates_are_valid(pool_type: str) -> None:
    assert found(base_job_template(pool_type)) == []


def test_unused_variable_is_a_warning() -> None:
    value = template({"a": {"type": "string"}, "gpu": {"type": "integer"}}, command="{{ a }}")
    (problem,) = check_base_job_template(value)
    assert (problem.code, problem.severity) == ("DC536", "warning")
    assert problem.path == ("variables", "properties", "gpu")


def test_misspelt_variable_gets_a_suggestion() -> None:
    value = template({"command": {"type": "string"}}, command="{{ command }} {{ comand }}")
    (problem,) = check_base_job_template(value)
    assert problem.help == "Did you mean 'command'?"
