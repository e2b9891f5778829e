"""The output of `deployctl manifests stack` on a node, and runs of the project that it deploys."""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.support import worker_image
from tests.support.api import Api
from tests.support.cluster.images import FLOWS
from tests.support.cluster.node import Node
from tests.support.cluster.stack_images import POSTGRES, QUICK
from tests.support.environment import isolated
from tests.support.node_harness import DEPLOYCTL
from tests.support.prefect_cli import run_program
from tests.support.waiting import until

T = TypeVar("T")

POOL = "cluster"
WORKER = f"deployctl-worker-{POOL}"
SECONDS = 900.0
"""Allowed on a busy machine for what takes a minute."""
PROJECT = {
    "name": "project",
    "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/app"}}],
}


def project_image(version: str) -> str:
    """The name of the image with the project for a version of Prefect."""
    return f"project:{version}"


def write_project(folder: Path, version: str) -> None:
    """A project whose flow `succeeds` has two deployments.

    `scheduled` runs Prefect, once a minute. `quick` is a process that only reports its states.
    """
    shutil.copy(FLOWS, folder)
    images = {"scheduled": f"flow:{version}", "quick": QUICK}
    deployments: list[dict[str, Any]] = [
        {
            "name": name,
            "entrypoint": "flows.py:succeeds",
            "work_pool": {"name": POOL, "job_variables": {"image": image}},
        }
        for name, image in images.items()
    ]
    deployments[0]["schedules"] = [{"cron": "* * * * *"}]
    (folder / "prefect.yaml").write_text(json.dumps(PROJECT | {"deployments": deployments}))


class StackHarness:
    """A namespace of a node for a stack, and a volume for its database; a context manager."""

    def __init__(self, node: Node, version: str, home: Path) -> None:
        self.node, self.version = node, version
        self.namespace = f"stack-{uuid.uuid4().hex[:8]}"
        self._home = home

    def __enter__(self) -> Self:
        self.node.kubectl("create", "namespace", self.namespace)
        self.node.add_volume(f"{self.namespace}-data", self.namespace)
        return self

    def __exit__(self, *exception: object) -> None:
        self.node.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def apply(self, *options: str) -> None:
        """Apply the stack; options of `manifests stack` in addition to those of all tests."""
        command = [DEPLOYCTL, "manifests", "stack", *self.options, *options]
        ended = run_program(command, cwd=self._home, env=isolated(self._home))
        assert ended.code == 0, f"exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
        self.node.kubectl("apply", "-f", "-", content=ended.stdout)

    @property
    def options(self) -> Sequence[str]:
        """Options of `manifests stack` that all tests have in common."""
        return (
            *("--namespace", self.namespace, "--pool", POOL, "--limit", "3"),
            *("--prefect", self.version.partition(".")[0]),
            *("--image", worker_image.NAME, "--project-image", project_image(self.version)),
            *("--server-image", f"flow:{self.version}", "--database-image", POSTGRES),
            *("--storage-class", self.namespace),
        )

    def kubectl(self, *args: str) -> str:
        """Run kubectl in the namespace of the stack."""
        return self.node.kubectl("--namespace", self.namespace, *args)

    def pods(self, component: str) -> list[Any]:
        """The pods of a part that are not ending."""
        selector = f"?labelSelector=app.kubernetes.io/component%3D{component}"
        path = f"/api/v1/namespaces/{self.namespace}/pods{selector}"
        found = self.node.control_plane.admin.items(path)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, component: str, number: int = 1) -> list[Any]:
        """Wait until a part has this number of pods, all of which are ready, and return them."""

        def ready() -> list[Any]:
            pods = self.pods(component)
            conditions = [pod["status"].get("conditions", ()) for pod in pods]
            are_ready = [
                any((each["type"], each["status"]) == ("Ready", "True") for each in of)
                for of in conditions
            ]
            return pods if len(pods) == number and all(are_ready) else []

        return self.until(ready)

    def api(self) -> Api:
        """The API of the server's present pod."""
        (pod,) = self.ready_pods("server")
        return Api(f"http://{pod['status']['podIP']}:4200/api")

    def until(self, happens: Callable[[], T]) -> T:
        """Wait until something is true and return it; else fail with the logs of all pods."""
        return until(happens, self.describe, SECONDS)

    def describe(self) -> str:
        """The pods of the namespace, their events, and the ends of their logs."""
        logs = [
            f"== {pod}\n" + self.kubectl("logs", pod, "--all-containers", "--ignore-errors")[-3000:]
            for component in ("database", "server", "worker")
            for pod in (each["metadata"]["name"] for each in self.pods(component))
        ]
        return self.kubectl("get", "pods") + self.kubectl("get", "events")[-6000:] + "\n".join(logs)

    # Runs

    def completed_scheduled_run(self, api: Api) -> Any:
        """Wait until a scheduled run is COMPLETED and return it."""
        of = {"deployments": {"id": {"any_": [api.deployment("succeeds", "scheduled")["id"]]}}}
        completed = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        query = {**of, **completed, "limit": 1}
        (run,) = self.until(lambda: api.call("POST", "/flow_runs/filter", query))
        return run

    def pause_schedule(self, api: Api) -> None:
        """Create no more scheduled runs: each takes the CPU time of ten others."""
        path = {2: "set_schedule_inactive", 3: "pause_deployment"}[int(self.version[0])]
        api.call("POST", f"/deployments/{api.deployment('succeeds', 'scheduled')['id']}/{path}")

    def start(self, api: Api, number: int) -> list[str]:
        """Create runs of the deployment `quick`; returns their ids."""
        path = f"/deployments/{api.deployment('succeeds', 'quick')['id']}/create_flow_run"
        state = {"state": {"type": "SCHEDULED"}}
        return [api.call("POST", path, state)["id"] for _ in range(number)]

    def in_state(self, api: Api, runs: Sequence[str], state: str) -> int:
        """How many of these runs are in a state of this type."""
        of = {"id": {"any_": list(runs)}, "state": {"type": {"any_": [state]}}}
        return int(api.call("POST", "/flow_runs/count", {"flow_runs": of}))

    def await_completed(self, api: Api, runs: Sequence[str], number: int | None = None) -> None:
        """Wait until this number of the runs, all by default, is COMPLETED."""
        wanted = len(runs) if number is None else number
        self.until(lambda: self.in_state(api, runs, "COMPLETED") >= wanted)

    def ran_once(self, api: Api, runs: Sequence[str]) -> None:
        """Each run had one Job, was claimed once, and is COMPLETED."""
        jobs = self.jobs()
        for run in runs:
            found = api.call("GET", f"/flow_run_states/?flow_run_id={run}")
            types = Counter(state["type"] for state in found if state["name"] != "Late")
            assert types == Counter(("SCHEDULED", "PENDING", "RUNNING", "COMPLETED")), run
            assert jobs[run] == 1, run

    def jobs(self) -> Counter[str]:
        """How many Jobs each run has, by the run's id."""
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs"
        jobs = self.node.control_plane.admin.items(path)
        return Counter(job["metadata"]["labels"]["deployctl.io/run-id"] for job in jobs)
