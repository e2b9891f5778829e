"""deployctl on a real node: a server, deployments of `flows.py`, a worker, and runs in pods."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.support.api import Api
from tests.support.cluster.images import FLOWS
from tests.support.cluster.node import Node
from tests.support.die_with_parent import die_with_parent
from tests.support.environment import isolated
from tests.support.prefect_cli import run_program
from tests.support.servers import Server, running

DEPLOYCTL = str(Path(sys.executable).with_name("deployctl"))
TIMEOUT = 400.0
"""Seconds allowed on a busy machine for what takes twenty."""


class NodeHarness:
    """A server, a deployed project and a running worker; a context manager.

    `entries(version)` returns the deployments of prefect.yaml without the parts that all share. It
    is called once the server runs, so that a schedule can start soon after.
    """

    deployments: list[dict[str, Any]]

    def __init__(
        self,
        version: str,
        node: Node,
        folder: Path,
        entries: Callable[[str], list[dict[str, Any]]],
    ) -> None:
        self.version, self.node, self.folder = version, node, folder
        self.kube = node.control_plane.admin
        self.log_file = folder / "worker.log"
        self._entries = entries
        self._runs: dict[str, str] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self.server: Server = opening.enter_context(
                running(self.version, host=self.node.address)
            )
            self.api = opening.enter_context(Api(self.server.api_url))
            self.deployments = self._entries(self.version)
            self._write_project()
            self.deployctl("deploy", "--all")
            self.worker = self._start_worker()
            opening.callback(self._stop_worker)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def deployctl(self, *args: str) -> str:
        """Run deployctl in the project and return its output; fail the test if it fails."""
        ended = run_program([DEPLOYCTL, *args], cwd=self.folder, env=self._env)
        assert ended.code == 0, f"exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    # Runs

    def start(self, flow: str, name: str) -> None:
        """Start a run of a deployment; other methods know it by the deployment's name."""
        output = json.loads(self.deployctl("run", f"{flow}/{name}", "--output", "json"))
        self._runs[name] = output["run"]["id"]

    def scheduled(self, flow: str, name: str) -> None:
        """Wait for a run that the server creates from the deployment's schedule."""
        of = {"deployments": {"id": {"any_": [self.api.deployment(flow, name)["id"]]}}}
        first = {**of, "sort": "EXPECTED_START_TIME_ASC", "limit": 1}
        (found,) = self._until(lambda: self.api.call("POST", "/flow_runs/filter", first), name)
        self._runs[name] = found["id"]

    def run(self, name: str) -> Any:
        """Return the run from the server."""
        return self.api.call("GET", f"/flow_runs/{self._runs[name]}")

    def state(self, name: str, *types: str) -> Any:
        """Wait until the run's state has one of these types and return the state."""

        def reached() -> Any:
            state = self.run(name)["state"]
            return state if state["type"] in types else None

        return self._until(reached, name)

    def states(self, name: str) -> list[str]:
        """Return the types of all states of the run, in order."""
        found = self.api.call("GET", f"/flow_run_states/?flow_run_id={self._runs[name]}")
        return [state["type"] for state in sorted(found, key=lambda each: str(each["timestamp"]))]

    def claims(self, name: str) -> int:
        """Return how often the run was claimed."""
        found = self.api.call("GET", f"/flow_run_states/?flow_run_id={self._runs[name]}")
        return [(state["type"], state["name"]) for state in found].count(("PENDING", "Pending"))

    def cancel(self, name: str) -> None:
        """Cancel the run as the UI does."""
        request = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        self.api.call("POST", f"/flow_runs/{self._runs[name]}/set_state", request)

    def log(self, name: str, text: str) -> str:
        """Wait until the run's log contains `text` and return the log."""
        of = {"logs": {"flow_run_id": {"any_": [self._runs[name]]}}, "sort": "TIMESTAMP_ASC"}

        def read() -> str:
            lines = self.api.call("POST", "/logs/filter", of)
            log = "\n".join(f"{line['name']}: {line['message']}" for line in lines)
            return log if text in log else ""

        return str(self._until(read, name))

    # Jobs

    def jobs(self, name: str) -> list[Any]:
        """Return the run's Jobs."""
        return self._labelled("/apis/batch/v1/namespaces/default/jobs", name)

    def pod(self, name: str, phase: str) -> Any:
        """Wait until the run's pod is in this phase and return the pod."""
        path = "/api/v1/namespaces/default/pods"

        def there() -> Any:
            pods = self._labelled(path, name)
            return next((pod for pod in pods if pod["status"]["phase"] == phase), None)

        return self._until(there, name)

    def pod_is_over(self, name: str) -> None:
        """Wait until no pod of the run is alive."""
        path = "/api/v1/namespaces/default/pods"
        over = {"Succeeded", "Failed"}
        self._until(
            lambda: all(pod["status"]["phase"] in over for pod in self._labelled(path, name)), name
        )

    def pulls(self, name: str) -> None:
        """Wait until the node pulls the image of the run's pod."""
        pod = self.pod(name, "Pending")["metadata"]["name"]
        path = f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={pod}"
        self._until(lambda: any(e["reason"] == "Pulling" for e in self.kube.items(path)), name)

    def evict(self, name: str) -> None:
        """Evict the run's pod as `kubectl drain` does."""
        pod = self.pod(name, "Running")["metadata"]
        path = f"/api/v1/namespaces/default/pods/{pod['name']}/eviction"
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod["name"]}}
        self.kube.request("POST", path, body)

    def _labelled(self, path: str, name: str) -> list[Any]:
        return self.kube.items(f"{path}?labelSelector=deployctl.io/run-id={self._runs[name]}")

    def _until(self, happens: Callable[[], Any], name: str) -> Any:
        """Poll `happens` until its result is true and return that."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end and self.worker.poll() is None:
            if found := happens():
                return found
            time.sleep(0.2)
        raise AssertionError(
            f"{name}: {self.run(name)['state'] if name in self._runs else 'no run'}\n"
            f"{self.log_file.read_text()[-8000:]}"
        )

    # The parts

    @property
    def _env(self) -> dict[str, str]:
        return isolated(
            self.folder / "home",
            PREFECT_API_URL=self.server.api_url,
            PREFECT_WORKER_QUERY_SECONDS="1",
            PREFECT_WORKER_CANCELLATION_POLL_SECONDS="1",
            KUBECONFIG=str(self.node.kubeconfig),
        )

    def _write_project(self) -> None:
        shutil.copy(FLOWS, self.folder)
        image = {"image": f"flow:{self.version}"}
        entries = [
            {
                **entry,
                "entrypoint": f"flows.py:{entry['entrypoint']}",
                "work_pool": {
                    "name": "node",
                    "job_variables": image | entry.get("work_pool", {}).get("job_variables", {}),
                },
            }
            for entry in self.deployments
        ]
        where = {"prefect.deployments.steps.set_working_directory": {"directory": "/opt/app"}}
        content = {
            "name": "harness",
            "work_pools": [{"name": "node", "type": "kubernetes"}],
            "pull": [where],
            "deployments": entries,
        }
        (self.folder / "prefect.yaml").write_text(json.dumps(content))

    def _start_worker(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("wb") as output:
            return subprocess.Popen(
                die_with_parent(DEPLOYCTL, "worker", "--pool", "node"),
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _stop_worker(self) -> None:
        self.worker.send_signal(signal.SIGTERM)
        try:
            self.worker.wait(TIMEOUT)
        finally:
            self.worker.kill()
            self.worker.wait()
