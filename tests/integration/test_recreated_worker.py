"""A process worker that comes back elsewhere, as one whose container is recreated.

It has another state folder here, which makes it as foreign to its predecessor's claims as another
host name does.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.support.api import Api
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import until
from tests.support.worker_harness import WorkerProcess

SEVERAL = 8
"""More heartbeats than a worker takes for finding out that it is alone."""


class Place:
    """A pool whose jobs sleep, and workers of one name at different places."""

    def __init__(self, api: Api, api_url: str, folder: Path) -> None:
        self.api, self._api_url, self._folder = api, api_url, folder
        self.pool = f"pool-{uuid.uuid4().hex[:8]}"
        api.pool(self.pool, "process", base_job_template("process"))
        self._flow = api.call("POST", "/flows/", {"name": self.pool})["id"]

    def run(self) -> str:
        """Create a run that is due; returns its id."""
        body = {
            "name": "sleeps",
            "flow_id": self._flow,
            "work_pool_name": self.pool,
            "job_variables": {"command": "sleep 600"},
            "enforce_parameter_schema": False,
        }
        deployment = self.api.call("POST", "/deployments/", body)["id"]
        path = f"/deployments/{deployment}/create_flow_run"
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        found: str = self.api.call("POST", path, {"state": state})["id"]
        return found

    def worker(self, place: str, *args: str, api_url: str = "") -> WorkerProcess:
        env = {
            "PREFECT_API_URL": api_url or self._api_url,
            "XDG_STATE_HOME": str(self._folder / place),
        }
        return WorkerProcess(self._folder, env, "--pool", self.pool, "--name", "w", *args)

    def report(self, run: str, kind: str) -> None:
        """Set the state of a run as its flow or a user does."""
        state = {"type": kind, "name": kind.title()}
        self.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state})

    def read(self, run: str) -> Any:
        return self.api.call("GET", f"/flow_runs/{run}")

    def begin(self, worker: WorkerProcess) -> str:
        """A new run that a worker has started and that runs; returns its id."""
        run = self.run()
        worker.await_entry("run.submitted", run=run)
        until(lambda: self.read(run)["infrastructure_pid"], lambda: worker.output)
        self.report(run, "RUNNING")
        return run

    def kill(self, worker: WorkerProcess, run: str) -> None:
        """Kill a worker and the process of its run, as the end of their container does."""
        worker.kill()
        with suppress(ProcessLookupError):
            os.killpg(int(self.read(run)["infrastructure_pid"].rpartition(":")[2]), signal.SIGKILL)

    def await_state(self, run: str, kind: str, worker: WorkerProcess) -> Any:
        def reached() -> Any:
            state = self.read(run)["state"]
            return state if state["type"] == kind else None

        return until(reached, lambda: f"{self.read(run)['state']}\n{worker.output}")


@pytest.fixture
def place(server: Server, tmp_path: Path) -> Iterator[Place]:
    """On each major in turn."""
    with Api(server.api_url) as api:
        yield Place(api, server.api_url, tmp_path)


@pytest.mark.parametrize(("state", "end"), [("RUNNING", "CRASHED"), ("CANCELLING", "CANCELLED")])
def test_runs_of_a_predecessor_are_ended(place: Place, state: str, end: str) -> None:
    with place.worker("before") as before:
        run = place.begin(before)
        place.kill(before, run)
    if state == "CANCELLING":
        place.report(run, state)
    with place.worker("after") as after:
        found = place.await_state(run, end, after)
        until(lambda: after.entries(f"run.{end.lower()}", run=run), lambda: after.output)
    if end == "CRASHED":
        assert "another one of its name works elsewhere" in found["message"]


def test_runs_are_left_alone_as_long_as_another_worker_of_the_name_lives(
    prefect3: Server, proxy: Callable[[Server], Proxy], tmp_path: Path
) -> None:
    between = proxy(prefect3)
    with Api(prefect3.api_url) as api:
        place = Place(api, prefect3.api_url, tmp_path)
        with place.worker("here") as here:
            run = place.begin(here)
            with place.worker("there", api_url=between.api_url) as there:
                until(lambda: len(between.seen(path="workers/filter$")) > 2 * SEVERAL, str)
                assert place.read(run)["state"]["type"] == "RUNNING"
                place.kill(here, run)
                place.await_state(run, "CRASHED", there)


def test_runs_are_left_alone_with_a_shared_name(
    prefect3: Server, proxy: Callable[[Server], Proxy], tmp_path: Path
) -> None:
    between = proxy(prefect3)
    with Api(prefect3.api_url) as api:
        place = Place(api, prefect3.api_url, tmp_path)
        with place.worker("here") as here:
            run = place.begin(here)
            place.kill(here, run)
        with place.worker("there", "--shared-name", api_url=between.api_url) as there:
            until(lambda: len(between.seen("POST", "heartbeat$")) > SEVERAL, lambda: there.output)
            assert place.read(run)["state"]["type"] == "RUNNING"
