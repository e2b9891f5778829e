"""A stack on an empty cluster: what users of `deployctl manifests stack` rely on.

These tests take minutes of CPU time, so that only `make test-cluster` runs them. Each leaves the
stack with one worker that is ready.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import docker_engine, worker_image
from tests.support.api import Api
from tests.support.cluster import tools
from tests.support.cluster.node import Node
from tests.support.cluster.service_network import ServiceNetwork
from tests.support.cluster.stack_images import load_projects, postgres_image, quick_image
from tests.support.cluster.yaml_page import yaml_page
from tests.support.environment import isolated
from tests.support.servers import PREFECT_2, PREFECT_3, ROOT
from tests.support.stack_harness import (
    POOL,
    WORKER,
    StackHarness,
    project_image,
    write_project,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

RUNS = 30
PARTS = ("database", "server", "worker")


@pytest.fixture(scope="module")
def stack_node(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The node with names and addresses of Services, and with the images of a stack."""
    if reason := tools.lacks(tools.WITH_DNS) or docker_engine.lacks():
        pytest.skip(reason)
    node.add(postgres_image(), quick_image())
    node.load(worker_image.archive())
    folders = {}
    for version in (PREFECT_3, PREFECT_2):
        folders[project_image(version)] = folder = tmp_path_factory.mktemp("project")
        write_project(folder, version)
    load_projects(node, folders)
    with ServiceNetwork(node):
        yield node


@pytest.fixture(scope="module", params=[PREFECT_3, PREFECT_2])
def stack(
    stack_node: Node, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackHarness]:
    """A stack with one worker, which `kubectl apply` has installed in an empty namespace."""
    with StackHarness(stack_node, request.param, tmp_path_factory.mktemp("home")) as stack:
        stack.apply()
        yield stack


@pytest.fixture
def api(stack: StackHarness) -> Iterator[Api]:
    with stack.api() as found:
        yield found


def test_scheduled_run_completes(stack: StackHarness, api: Api) -> None:
    (worker,) = stack.ready_pods("worker")
    assert stack.completed_scheduled_run(api)["auto_scheduled"]
    stack.pause_schedule(api)
    (container,) = worker["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_stack_applied_again_changes_nothing(stack: StackHarness) -> None:
    before = [stack.ready_pods(part) for part in PARTS]
    secret = ("get", "secret", "prefect-database", "--output=jsonpath={.data.password}")
    password = stack.kubectl(*secret)
    assert password
    stack.apply()
    assert stack.kubectl(*secret) == password
    assert [names(stack.ready_pods(part)) for part in PARTS] == [names(pods) for pods in before]


def test_doctor_finds_nothing_wrong_from_a_pod(stack: StackHarness) -> None:
    command = ("deployctl", "doctor", "--pool", POOL, "--timeout", "120", "--output", "json")
    (worker,) = stack.ready_pods("worker")
    report = json.loads(stack.kubectl("exec", worker["metadata"]["name"], "--", *command))
    assert [check for check in report["checks"] if check["status"] == "failed"] == []
    assert {check["area"] for check in report["checks"]} >= {"server", "cluster"}


def test_rolling_update_of_three_replicas_loses_and_doubles_nothing(
    stack: StackHarness, api: Api
) -> None:
    stack.apply("--replicas", "3")
    before = names(stack.ready_pods("worker", 3))
    runs = stack.start(api, RUNS)
    stack.await_completed(api, runs, 6)
    stack.kubectl("rollout", "restart", f"deployment/{WORKER}")
    stack.until(lambda: names(stack.ready_pods("worker", 3)).isdisjoint(before))
    stack.await_completed(api, runs)
    stack.ran_once(api, runs)
    stack.apply()
    stack.ready_pods("worker")


def test_hooks_of_three_replicas_deploy_once_when_the_server_is_there(
    stack_node: Node, tmp_path: Path
) -> None:
    """The containers' postStart hooks wait for more than 20 s."""
    deploy = "deployctl deploy --all --create-pools --wait-for-api 1200 --timeout 1500"
    hook = ["sh", "-c", f"cd /project && exec {deploy} --on-error warn --container-log"]
    values = tmp_path / "values.json"
    values.write_text(
        json.dumps({"worker": {"lifecycle": {"postStart": {"exec": {"command": hook}}}}})
    )
    with StackHarness(stack_node, PREFECT_3, tmp_path) as stack:
        image = ("--project-image", "", "--image", project_image(PREFECT_3))
        missing = ("--database-password-secret", "later")
        stack.apply(*image, *missing, "--replicas", "3", "--values", str(values))
        stack.until(lambda: len(hooks_since(stack, timedelta(seconds=20))) == 3)
        stack.kubectl("create", "secret", "generic", "later", "--from-literal=password=p/w")
        pods = stack.ready_pods("worker", 3)
        logs = [stack.kubectl("logs", pod["metadata"]["name"]) for pod in pods]
        with stack.api() as api:
            assert api.call("POST", "/deployments/count", {}) == 2
            assert api.call("POST", "/work_pools/count", {}) == 1
    assert all("\nDone: " in log for log in logs), logs
    assert sum("+ deployment succeeds/quick created" in log for log in logs) == 1, logs
    statuses = [pod["status"]["containerStatuses"][0] for pod in pods]
    assert [status["restartCount"] for status in statuses] == [0, 0, 0]


def hooks_since(stack: StackHarness, time: timedelta) -> list[Any]:
    """The events of workers' containers that started so long ago."""
    path = f"/api/v1/namespaces/{stack.namespace}/events"
    events = stack.node.control_plane.admin.items(f"{path}?fieldSelector=reason=Started")
    return [
        event
        for event in events
        if event["involvedObject"].get("fieldPath") == "spec.containers{worker}"
        and datetime.now(UTC) - datetime.fromisoformat(event["firstTimestamp"]) > time
    ]


def test_history_of_a_page_of_yaml_moves_to_a_stack(stack_node: Node, tmp_path: Path) -> None:
    """docs/kubernetes.md: migrate from a page of YAML, here with Prefect 2."""
    page = f"page-{uuid.uuid4().hex[:8]}"
    stack_node.kubectl("create", "namespace", page)
    objects = yaml_page(page, f"flow:{PREFECT_2}")
    stack_node.kubectl("apply", "-f", "-", content=json.dumps(objects))
    with StackHarness(stack_node, PREFECT_3, tmp_path) as stack:
        with server_of_page(stack, page) as old:
            flow = old.call("POST", "/flows/", {"name": "old"})["id"]
            run = {"name": "old", "flow_id": flow, "state": {"type": "COMPLETED"}}
            old.call("POST", "/flow_runs/", run)
        run_migration(stack, page, tmp_path)
        stack.kubectl("rollout", "status", f"deployment/{WORKER}")
        with stack.api() as api:
            found = api.call("POST", "/flow_runs/filter", {"flows": {"name": {"any_": ["old"]}}})
            assert [each["name"] for each in found] == ["old"]
            runs = stack.start(api, 1)
            stack.await_completed(api, runs)
    stack_node.kubectl("delete", "namespace", page, "--wait=false")


def run_migration(stack: StackHarness, page: str, folder: Path) -> None:
    """Run the commands of docs/kubernetes.md that move a database, as they stand there."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    (commands,) = [part for part in text.split("\n```\n") if "pg_restore" in part]
    for documented, own in {
        "-n default": f"-n {page}",
        "-n prefect": f"-n {stack.namespace}",
        "--namespace prefect --pool worker-pool …": " ".join(stack.options),
        "deployctl-worker-worker-pool": WORKER,
    }.items():
        assert documented in commands
        commands = commands.replace(documented, own)
    path = f"{Path(sys.executable).parent}:{tools.folder(tools.NODE)}:{os.environ['PATH']}"
    env = isolated(folder, PATH=path, KUBECONFIG=str(stack.node.kubeconfig))
    subprocess.run(["bash", "-exo", "pipefail", "-c", commands], cwd=folder, env=env, check=True)


def server_of_page(stack: StackHarness, page: str) -> Api:
    """The API of the server of the page's namespace, once it answers."""
    kube = stack.node.control_plane.admin

    def answers() -> Api | None:
        (pod,) = kube.items(f"/api/v1/namespaces/{page}/pods?labelSelector=app=prefect-server")
        with suppress(httpx.HTTPError), Api(f"http://{pod['status'].get('podIP')}:4200/api") as api:
            if api.answer("GET", "/health").is_success:
                return Api(f"http://{pod['status']['podIP']}:4200/api")
        return None

    found = stack.until(answers)
    assert found
    return found


def names(pods: list[Any]) -> set[str]:
    return {pod["metadata"]["name"] for pod in pods}
