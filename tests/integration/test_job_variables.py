"""The check of job variables agrees with the server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.variables import PoolVariables
from tests.support.api import Api
from tests.support.servers import PREFECT_2, Server

REFERENCE = "{{ prefect.variables.x }}"
ID = "0f5b1c1e-6d3a-4a34-9d3c-0d7a3f1b2c4d"
ACCEPTED: list[Any] = [
    {},
    {"image": REFERENCE},
    {"image": None},
    {"env": {"A": REFERENCE, "B": None}},
    {"env": None},
    {"finished_job_ttl": 300},
    {"finished_job_ttl": None},
    {"backoff_limit": 1.0},
    {"stream_output": None},
    {"unknown": 5},
    {"labels": {"a": REFERENCE}},
    {"cluster_config": None},
    {"cluster_config": {"config": {}, "context_name": "c"}},
    {"cluster_config": {"$ref": {"block_document_id": ID}}},
]
REFUSED: list[Any] = [
    {"image": 5},
    {"env": {"A": 5}},
    {"env": REFERENCE},
    {"finished_job_ttl": REFERENCE},
    {"finished_job_ttl": "300"},
    {"image_pull_policy": "Nope"},
    {"image_pull_policy": REFERENCE},
    {"image_pull_policy": None},
    {"backoff_limit": -1},
    {"stream_output": "true"},
    {"labels": {"a": 1}},
    {"labels": ["a"]},
    {"name": True},
    {"cluster_config": REFERENCE},
    {"cluster_config": {"config": REFERENCE, "context_name": "c"}},
]


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Api]:
    with Api(server.api_url) as api:
        yield api


@pytest.fixture(scope="module")
def deployment(api: Api) -> dict[str, Any]:
    """A deployment to post, without its job variables."""
    api.pool("job-variables", "kubernetes", base_job_template("kubernetes"))
    flow = api.call("POST", "/flows/", {"name": "job-variables"})
    return {"name": "d", "flow_id": flow["id"], "work_pool_name": "job-variables"}


@pytest.mark.parametrize(
    ("variables", "accepted"),
    [*((case, True) for case in ACCEPTED), *((case, False) for case in REFUSED)],
)
def test_check_agrees_with_the_server(
    server: Server, api: Api, deployment: dict[str, Any], variables: Any, accepted: bool
) -> None:
    field = "infra_overrides" if server.version == PREFECT_2 else "job_variables"
    answer = api.answer("POST", "/deployments/", {**deployment, field: variables})
    assert answer.is_success is accepted, answer.text
    problems = PoolVariables(base_job_template("kubernetes")).check(variables)
    assert ("DC530" not in [problem.code for problem in problems]) is accepted
