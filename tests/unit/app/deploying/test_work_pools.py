"""What a work pool gets that deployments name and nobody has made."""

from __future__ import annotations

import pytest

from deployctl.app.deploying.work_pools import complete_pool
from deployctl.core.json_values import Json
from deployctl.deploy.model import Resource


def made(**fields: Json) -> Resource:
    return complete_pool(Resource("work_pool", ("pool",), fields))


@pytest.mark.parametrize("type_", ["kubernetes", "docker", "process"])
def test_a_pool_gets_the_template_of_its_type(type_: str) -> None:
    pool = made(type=type_)
    assert "env" in pool.fields["base_job_template"]["variables"]["properties"]
    assert pool.passive == {"base_job_template"}


def test_a_pool_of_no_type_is_one_of_kubernetes() -> None:
    assert made().fields["type"] == "kubernetes"


def test_a_template_that_is_given_stays() -> None:
    assert made(type="docker", base_job_template={}).fields["base_job_template"] == {}


def test_a_pool_of_somebody_elses_type_gets_its_template_from_its_worker() -> None:
    assert made(type="ecs").fields == {"type": "ecs"}
