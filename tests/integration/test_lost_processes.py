"""Real flows whose process is lost while it sleeps before a retry or is paused.

As local processes and as containers; in pods: `node/test_end_to_end.py`.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.support.api import Api
from tests.support.docker_engine import IMAGE, DockerEngine
from tests.support.servers import CACHE, Server, interpreter
from tests.support.waiting import until
from tests.support.worker_harness import WorkerProcess

pytestmark = pytest.mark.timeout(600)

FLOWS = """
from prefect import flow, pause_flow_run


@flow(retries=3, retry_delay_seconds=3600)
def retries():
    print("the source is down", flush=True)
    raise RuntimeError("the source is down")


@flow
def pauses():
    print("waiting for approval", flush=True)
    pause_flow_run(timeout=3600)
"""
WAITS = {
    "retries": ("SCHEDULED", "the source is down", "waiting for a retry"),
    "pauses": ("PAUSED", "waiting for approval", "The run was paused"),
}
"""Flow → the type of the state in which its process waits, a line that it prints, and what is said
of the lost step."""


class Flows:
    """A pool of one type, deployments of `FLOWS`, and workers."""

    def __init__(
        self, api: Api, server: Server, folder: Path, type_: str, job_variables: Any, env: Any
    ) -> None:
        self.api, self._folder = api, folder
        self.pool = f"pool-{uuid.uuid4().hex[:8]}"
        api.pool(self.pool, type_, base_job_template(type_))
        self._env = {"PREFECT_API_URL": server.api_url, "XDG_STATE_HOME": str(folder / "state")}
        self._env |= env
        prefect = interpreter(server.version).with_name("prefect")
        self._job_variables = {"command": f"{prefect} flow-run execute", **job_variables}
        (folder / "flows.py").write_text(FLOWS)

    def run(self, flow: str) -> str:
        """Create a run that is due; returns its id."""
        where = {"directory": str(self._folder)}
        body = {
            "name": flow,
            "flow_id": self.api.call("POST", "/flows/", {"name": flow})["id"],
            "work_pool_name": self.pool,
            "entrypoint": f"flows.py:{flow}",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": where}],
            "job_variables": self._job_variables,
            "enforce_parameter_schema": False,
        }
        deployment = self.api.call("POST", "/deployments/", body)["id"]
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        path = f"/deployments/{deployment}/create_flow_run"
        found: str = self.api.call("POST", path, {"state": state})["id"]
        return found

    def worker(self) -> WorkerProcess:
        return WorkerProcess(self._folder, self._env, "--pool", self.pool, "--name", "w")

    def read(self, run: str) -> Any:
        return self.api.call("GET", f"/flow_runs/{run}")

    def await_wait(self, run: str, worker: WorkerProcess, type_: str) -> Any:
        """Wait until the process waits: its run was RUNNING, and has a state of this type."""

        def waits() -> Any:
            found = self.read(run)
            assert found["state_type"] not in ("CRASHED", "FAILED"), found["state"]
            return found if found["start_time"] and found["state_type"] == type_ else None

        return until(waits, lambda: f"{self.read(run)['state']}\n{worker.output}")

    def await_crash(self, run: str, worker: WorkerProcess) -> str:
        """Wait until the run is CRASHED; returns the message of that state."""

        def crashed() -> Any:
            state = self.read(run)["state"]
            return state if state["type"] == "CRASHED" else None

        found = until(crashed, lambda: f"{self.read(run)['state']}\n{worker.output}")
        return str(found["message"])

    def await_log(self, run: str, text: str) -> None:
        """Wait until the worker has written this into the run's log."""
        of = {"logs": {"flow_run_id": {"any_": [run]}, "level": {"ge_": 40}}}

        def found() -> bool:
            return any(
                text in each["message"] and "The last lines of job" in each["message"]
                for each in self.api.call("POST", "/logs/filter", of)
            )

        until(found, lambda: str(self.api.call("POST", "/logs/filter", of)))


@pytest.fixture
def processes(server: Server, tmp_path: Path) -> Iterator[Flows]:
    with Api(server.api_url) as api:
        yield Flows(api, server, tmp_path, "process", {}, {})


@pytest.fixture
def containers(server: Server, tmp_path: Path, docker_engine: DockerEngine) -> Iterator[Flows]:
    """The containers have the programs of this machine, as their image has none."""
    (tmp_path / "tmp").mkdir(mode=0o777)
    base = Path(os.path.realpath(interpreter(server.version))).parents[1]
    shared = {"/usr", "/lib", "/lib64", "/bin", "/etc", str(base)}
    shared |= {str(CACHE), str(CACHE.resolve()), str(tmp_path)}
    volumes = [f"{path}:{path}" for path in sorted(shared) if Path(path).exists()]
    variables = {
        "image": IMAGE,
        "image_pull_policy": "Never",
        "network_mode": "host",
        "volumes": [*volumes, f"{tmp_path / 'tmp'}:/tmp"],
        "env": {"HOME": "/tmp"},
    }
    with Api(server.api_url) as api:
        yield Flows(api, server, tmp_path, "docker", variables, {"DOCKER_HOST": docker_engine.url})


@pytest.mark.parametrize("flow", WAITS)
def test_a_killed_process_crashes_its_run(processes: Flows, flow: str) -> None:
    type_, line, step = WAITS[flow]
    with processes.worker() as worker:
        run = processes.run(flow)
        found = processes.await_wait(run, worker, type_)
        with suppress(ProcessLookupError):
            os.killpg(int(found["infrastructure_pid"].rpartition(":")[2]), signal.SIGKILL)
        message = processes.await_crash(run, worker)
        assert "The job failed: " in message
        assert step in message
        processes.await_log(run, line)


@pytest.mark.parametrize("flow", WAITS)
def test_a_killed_container_crashes_its_run(
    containers: Flows, docker_engine: DockerEngine, flow: str
) -> None:
    type_, line, step = WAITS[flow]
    with containers.worker() as worker:
        run = containers.run(flow)
        found = containers.await_wait(run, worker, type_)
        docker_engine.client.containers.get(found["infrastructure_pid"].rpartition(":")[2]).kill()
        message = containers.await_crash(run, worker)
        assert "The job failed: " in message
        assert step in message
        containers.await_log(run, line)


def test_a_removed_container_crashes_its_run(
    containers: Flows, docker_engine: DockerEngine
) -> None:
    type_, _, step = WAITS["retries"]
    with containers.worker() as worker:
        run = containers.run("retries")
        found = containers.await_wait(run, worker, type_)
        container = docker_engine.client.containers.get(
            found["infrastructure_pid"].rpartition(":")[2]
        )
        container.remove(force=True)
        assert step in containers.await_crash(run, worker)
