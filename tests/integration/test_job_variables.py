"""What the server takes as job variables is what we say it takes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from deployctl.jobs.pools import kubernetes_template
from deployctl.jobs.variables import PoolVariables
from tests.support.servers import PREFECT_2, Server

REFERENCE = "{{ prefect.variables.x }}"
ID = "0f5b1c1e-6d3a-4a34-9d3c-0d7a3f1b2c4d"
TAKEN: list[Any] = [
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
def deployment(server: Server) -> tuple[str, dict[str, Any]]:
    """The API's address, and a deployment to post without its job variables."""
    pool = {"name": "job-variables", "type": "kubernetes"}
    with httpx.Client(base_url=server.api_url, timeout=30) as api:
        api.post("/work_pools/", json={**pool, "base_job_template": kubernetes_template()})
        flow = api.post("/flows/", json={"name": "job-variables"}).json()
    body = {"name": "d", "flow_id": flow["id"], "work_pool_name": pool["name"]}
    return server.api_url, body


@pytest.mark.parametrize(
    ("variables", "taken"),
    [*((case, True) for case in TAKEN), *((case, False) for case in REFUSED)],
)
def test_the_check_agrees_with_the_server(
    server: Server, deployment: tuple[str, dict[str, Any]], variables: Any, taken: bool
) -> None:
    api_url, body = deployment
    field = "infra_overrides" if server.version == PREFECT_2 else "job_variables"
    answer = httpx.post(f"{api_url}/deployments/", json={**body, field: variables}, timeout=30)
    assert answer.is_success is taken, answer.text
    problems = PoolVariables(kubernetes_template()).check(variables)
    assert ("DC530" not in [problem.code for problem in problems]) is taken
