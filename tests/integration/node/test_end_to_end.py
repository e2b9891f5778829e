"""End to end from prefect.yaml to the end of a run, with real servers, cluster, images, commands.

All runs of a server are started together, and each test checks its own: starting pods is slow, so
they start in parallel.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import needs
from tests.support.cluster.node import Node
from tests.support.node_harness import NodeHarness
from tests.support.servers import PREFECT_2, PREFECT_3
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(900)

RELINQUISH = {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR": "relinquish"}
ATTENTIVE = {"PREFECT_RUNNER_POLL_FREQUENCY": "2"}
"""Lets a run poll for its cancellation every 2 seconds instead of every 10."""


def deployments(version: str) -> list[dict[str, Any]]:
    soon = datetime.now(UTC) + timedelta(seconds=75)  # the server has to know of it before
    daily = {"interval": timedelta(days=1).total_seconds(), "anchor_date": soon.isoformat()}
    return [
        entry("succeeds", "on-schedule", schedules=[daily]),
        entry("fails", "fails"),
        entry(
            "devours", "out-of-memory", memory_limit="300Mi", command="python3 -m prefect.engine"
        ),
        entry(
            "succeeds", "no-image", image="empty.test/no/such:image", pod_watch_timeout_seconds=15
        ),
        entry("succeeds", "cancelled-pulling", image="slow.test/never/comes:1"),
        entry("lasts", "cancelled-running", env=ATTENTIVE),
        entry("lasts", "evicted", env=RELINQUISH),
        *([entry("recovers", "put-back")] if version == PREFECT_3 else []),
    ]


def entry(flow: str, name: str, schedules: Any = (), **job_variables: Any) -> dict[str, Any]:
    return {
        "name": name,
        "entrypoint": flow,
        "schedules": list(schedules),
        "work_pool": {"job_variables": job_variables},
    }


@pytest.fixture(scope="module")
def equipped(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The node, with two registries: `empty.test` has no images, and `slow.test` never answers."""
    folder = tmp_path_factory.mktemp("registry")
    handler = partial(Silent, directory=str(folder))
    with (
        socket.create_server(("127.0.0.1", 0)) as slow,
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as empty,
    ):
        node.registry("slow.test", f"http://127.0.0.1:{slow.getsockname()[1]}")
        node.registry("empty.test", f"http://127.0.0.1:{empty.server_address[1]}")
        thread = threading.Thread(target=empty.serve_forever, args=(0.05,))
        thread.start()
        yield node
        empty.shutdown()
        thread.join()


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture(scope="module", params=[PREFECT_3, PREFECT_2])
def stage(
    request: pytest.FixtureRequest,
    equipped: Node,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[NodeHarness]:
    needs(request.param)
    folder: Path = tmp_path_factory.mktemp("stage")
    with NodeHarness(request.param, equipped, folder, deployments) as stage:
        for each in stage.deployments:
            if not each["schedules"]:
                stage.start(each["entrypoint"], each["name"])
        yield stage


def test_cancel_while_image_is_pulled(stage: NodeHarness) -> None:
    stage.pulls("cancelled-pulling")
    stage.cancel("cancelled-pulling")
    stage.state("cancelled-pulling", "CANCELLED")
    assert all(job["metadata"]["deletionTimestamp"] for job in stage.jobs("cancelled-pulling"))
    assert "RUNNING" not in stage.states("cancelled-pulling")


def test_cancel_running_run(stage: NodeHarness) -> None:
    stage.state("cancelled-running", "RUNNING")
    stage.log("cancelled-running", "here to stay")
    stage.cancel("cancelled-running")
    stage.state("cancelled-running", "CANCELLED")
    stage.pod_is_over("cancelled-running")


def test_evicted_run_crashes(stage: NodeHarness) -> None:
    stage.state("evicted", "RUNNING")
    stage.log("evicted", "here to stay")
    stage.evict("evicted")
    state = stage.state("evicted", "CRASHED", "COMPLETED", "FAILED")
    assert state["type"] == "CRASHED"
    causes = ["The job failed: the pod was evicted"]
    if stage.server.major == 2:  # the run may say it itself, if it has the time
        causes.append("Execution was aborted by a termination signal.")
    assert any(cause in state["message"] for cause in causes)
    assert "here to stay" in stage.log("evicted", "he pod was evicted")


@pytest.mark.parametrize("stage", [PREFECT_3], indirect=True)
def test_evicted_run_that_is_rescheduled_runs_again(stage: NodeHarness) -> None:
    stage.state("put-back", "RUNNING")
    stage.log("put-back", "here to stay")
    stage.evict("put-back")
    assert stage.state("put-back", "COMPLETED", "CRASHED")["type"] == "COMPLETED"
    assert stage.states("put-back").count("RUNNING") == 2
    assert "up again" in stage.log("put-back", "up again")


def test_scheduled_run_completes(stage: NodeHarness) -> None:
    stage.scheduled("succeeds", "on-schedule")
    stage.state("on-schedule", "COMPLETED")
    (job,) = stage.jobs("on-schedule")
    assert stage.run("on-schedule")["infrastructure_pid"].endswith(f":{job['metadata']['name']}")
    until(lambda: stage.jobs("on-schedule")[0]["status"].get("succeeded") == 1)
    log = stage.log("on-schedule", "all is well")
    assert f"created job '{job['metadata']['name']}'" in log


def test_failure_of_a_flow_is_reported_by_the_flow(stage: NodeHarness) -> None:
    state = stage.state("fails", "FAILED", "CRASHED", "COMPLETED")
    assert state["type"] == "FAILED"
    assert "the flow gave up by itself" in state["message"]
    pod = stage.pod("fails", "Succeeded")
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0
    assert "ValueError: the flow gave up by itself" in stage.log("fails", "ValueError")


def test_run_out_of_memory_crashes(stage: NodeHarness) -> None:
    state = stage.state("out-of-memory", "CRASHED", "FAILED", "COMPLETED")
    assert state["type"] == "CRASHED"
    assert "it used more memory than its limit of 300Mi" in state["message"]
    assert "still hungry" in stage.log("out-of-memory", "The last lines of job")
    assert stage.states("out-of-memory").count("CRASHED") == 1


def test_run_with_missing_image_crashes(stage: NodeHarness) -> None:
    state = stage.state("no-image", "CRASHED", "COMPLETED")
    assert "the image 'empty.test/no/such:image' cannot be pulled: not found" in state["message"]
    assert "There is no such image or tag" in state["message"]
    assert stage.jobs("no-image") == []
    assert "RUNNING" not in stage.states("no-image")


def test_one_job_per_attempt(stage: NodeHarness) -> None:
    for each in stage.deployments:
        made = stage.log(each["name"], "created job").count("created job")
        assert made == stage.states(each["name"]).count("SCHEDULED"), each["name"]
