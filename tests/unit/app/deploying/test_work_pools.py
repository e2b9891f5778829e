"""Pools to create get the type and template that they need."""

from __future__ import annotations

import pytest

from deployctl.app.deploying.work_pools import complete_pool
from deployctl.core.json_values import Json
from deployctl.deploy.model import Resource


def made(**fields: Json) -> Resource:
    return complete_pool(Resource("work_pool", ("pool",), fields))


@pytest.mark.parametrize("type_", ["kubernetes", "docker", "process"])
def test_new_pool_gets_template_of_its_type(type_: str) -> None:
    pool = made(type=type_)
    assert "env" in pool.fields["base_job_template"]["variables"]["properties"]
    assert pool.passive == {"base_job_template"}


def test_default_type_is_kubernetes() -> None:
    assert made().fields["type"] == "kubernetes"


def test_declared_template_is_kept() -> None:
    assert made(type="docker", base_job_template={}).fields["base_job_template"] == {}


def test_pool_of_unknown_type_gets_no_template() -> None:
    assert made(type="ecs").fields == {"type": "ecs"}
