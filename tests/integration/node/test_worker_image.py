"""deployctl's image as a worker in a cluster, installed by kubectl."""

from __future__ import annotations

import json
import shutil
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.integration.conftest import needs
from tests.support import docker_engine, worker_image
from tests.support.api import Api
from tests.support.chart_worker import chart_worker
from tests.support.cluster.images import FLOWS
from tests.support.cluster.node import Node
from tests.support.environment import isolated
from tests.support.node_harness import DEPLOYCTL
from tests.support.prefect_cli import run_program
from tests.support.servers import PREFECT_2, PREFECT_3, Server, running
from tests.support.waiting import until

# The first test may have to build the images.
pytestmark = pytest.mark.timeout(2700)

SECONDS = 900.0
"""Allowed on a busy machine for what takes thirty."""


@pytest.fixture(scope="module")
def equipped(node: Node) -> Node:
    """The node with deployctl's image."""
    if reason := docker_engine.lacks():
        pytest.skip(reason)
    node.load(worker_image.archive())
    return node


@dataclass
class Installation:
    """A namespace of a node for a worker, and a server with a deployment on the worker's pool."""

    node: Node
    server: Server
    api: Api
    namespace: str
    folder: Path

    def deployctl(self, *args: str) -> str:
        """Run deployctl in the project and return its output; fail the test if it fails."""
        env = isolated(self.folder / "home", PREFECT_API_URL=self.server.api_url)
        ended = run_program([DEPLOYCTL, *args], cwd=self.folder, env=env)
        assert ended.code == 0, f"exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def deploy(self, **deployment: Any) -> None:
        """Deploy the flow `succeeds`, and its work pool, whose template has no namespace."""
        shutil.copy(FLOWS, self.folder)
        entry = {
            "name": "daily",
            "entrypoint": "flows.py:succeeds",
            "work_pool": {
                "name": "cluster",
                "job_variables": {"image": f"flow:{self.server.version}"},
            },
        }
        project = {
            "name": "project",
            "work_pools": [{"name": "cluster", "type": "kubernetes"}],
            "pull": [
                {"prefect.deployments.steps.set_working_directory": {"directory": "/opt/app"}}
            ],
            "deployments": [entry | deployment],
        }
        (self.folder / "prefect.yaml").write_text(json.dumps(project))
        self.deployctl("deploy", "--all")

    def completed_run(self) -> Any:
        """Wait until a run of the deployment is COMPLETED and return it."""
        of = {"deployments": {"id": {"any_": [self.api.deployment("succeeds", "daily")["id"]]}}}
        completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        (run,) = until(
            lambda: self.api.call("POST", "/flow_runs/filter", {**of, **completed, "limit": 1}),
            self.describe,
            SECONDS,
        )
        return run

    def worker_pod(self) -> Any:
        """Wait until the namespace has only one pod of the worker, which is ready; return it."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        selector = "?labelSelector=app.kubernetes.io/component%3Dworker"

        def ready() -> Any:
            pods = self.node.control_plane.admin.items(path + selector)
            conditions = pods[0]["status"].get("conditions", ()) if len(pods) == 1 else ()
            is_ready = any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)
            return pods[0] if is_ready else None

        return until(ready, self.describe, SECONDS)

    def jobs(self) -> list[Any]:
        """The Jobs of the namespace."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        return self.node.control_plane.admin.items(path)

    def describe(self) -> str:
        """The pods of the namespace, their events and the worker's log."""
        of = ("--namespace", self.namespace)
        selector = "--selector=app.kubernetes.io/component=worker"
        log = self.node.kubectl("logs", *of, selector, "--all-containers", "--ignore-errors")
        return self.node.kubectl("describe", "pods", *of)[-6000:] + log[-6000:]


@contextmanager
def installation(node: Node, version: str, folder: Path) -> Iterator[Installation]:
    """A namespace, which is deleted at the end with its worker, and a server."""
    namespace = f"workers-{uuid.uuid4().hex[:8]}"
    with running(version, host=node.address) as server, Api(server.api_url) as api:
        installed = Installation(node, server, api, namespace, folder)
        installed.node.kubectl("create", "namespace", namespace)
        try:
            yield installed
        finally:
            installed.node.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_worker_of_manifests_completes_a_scheduled_run(
    equipped: Node, version: str, tmp_path: Path
) -> None:
    needs(version)
    with installation(equipped, version, tmp_path) as installed:
        start = datetime.now(UTC) + timedelta(seconds=15)
        every_minute = {"interval": 60, "anchor_date": start.isoformat()}
        installed.deploy(schedules=[every_minute])
        options = ("--api-url", installed.server.api_url, "--image", worker_image.NAME)
        name = installed.namespace
        command = ("manifests", "worker", "--namespace", name, "--pool", "cluster", "--limit", "1")
        manifests = installed.deployctl(*command, *options)
        installed.node.kubectl("apply", "-f", "-", content=manifests)
        assert installed.completed_run()["auto_scheduled"]
        assert {job["metadata"]["namespace"] for job in installed.jobs()} == {name}
        pod = installed.worker_pod()
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"]["runAsUser"] == 1001
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        assert "deployctl_worker" in page(pod, "/metrics")
        assert page(pod, "/health")
        assert page(pod, "/ready")


def page(pod: Mapping[str, Any], path: str) -> str:
    """A page of the worker; raises HTTPError unless its status is 200."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080{path}", timeout=60) as got:
        content: bytes = got.read()
    return content.decode()


def test_image_runs_in_the_deployment_of_the_official_chart(equipped: Node, tmp_path: Path) -> None:
    """A changed template reaches the pool with the rollout."""
    with installation(equipped, PREFECT_3, tmp_path) as installed:
        name = installed.namespace
        installed.deploy()
        template = base_job_template("kubernetes")
        for limit in (300, 301):
            template["variables"]["properties"]["job_watch_timeout_seconds"]["default"] = limit
            objects = chart_worker(
                name, "cluster", installed.server.api_url, worker_image.NAME, template
            )
            installed.node.kubectl("apply", "-f", "-", content=json.dumps(objects))
            until(
                lambda: (
                    installed.api.call("GET", "/work_pools/cluster")["base_job_template"]
                    == template
                ),
                installed.describe,
                SECONDS,
            )
        installed.worker_pod()
        installed.deployctl("run", "succeeds/daily")
        installed.completed_run()
        assert {job["metadata"]["namespace"] for job in installed.jobs()} == {name}
