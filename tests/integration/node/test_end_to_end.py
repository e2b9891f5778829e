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
RUN_TIMEOUT = 120
"""Seconds in which a flow starts on a busy machine, in most cases. They pass during other tests."""
LOST = ("too-long", "killed")
"""Deployments whose process is killed."""


def deployments(version: str) -> list[dict[str, Any]]:
    soon = datetime.now(UTC) + timedelta(seconds=75)  # the server has to know of it before
    daily = {"interval": timedelta(days=1).total_seconds(), "anchor_date": soon.isoformat()}
    return [
        entry("lasts", "too-long", job_watch_timeout_seconds=RUN_TIMEOUT),
        entry("retries", "killed"),
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
def harness(
    request: pytest.FixtureRequest,
    equipped: Node,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[NodeHarness]:
    needs(request.param)
    folder: Path = tmp_path_factory.mktemp("harness")
    with NodeHarness(request.param, equipped, folder, deployments) as harness:
        for each in harness.deployments:
            if not each["schedules"]:
                harness.start(each["entrypoint"], each["name"])
        yield harness


def test_cancel_while_image_is_pulled(harness: NodeHarness) -> None:
    harness.pulls("cancelled-pulling")
    harness.cancel("cancelled-pulling")
    harness.state("cancelled-pulling", "CANCELLED")
    assert all(job["metadata"]["deletionTimestamp"] for job in harness.jobs("cancelled-pulling"))
    assert "RUNNING" not in harness.states("cancelled-pulling")


def test_cancel_running_run(harness: NodeHarness) -> None:
    harness.state("cancelled-running", "RUNNING")
    harness.log("cancelled-running", "here to stay")
    harness.cancel("cancelled-running")
    harness.state("cancelled-running", "CANCELLED")
    harness.pod_is_over("cancelled-running")


def test_evicted_run_crashes(harness: NodeHarness) -> None:
    harness.state("evicted", "RUNNING")
    harness.log("evicted", "here to stay")
    harness.evict("evicted")
    state = harness.state("evicted", "CRASHED", "COMPLETED", "FAILED")
    assert state["type"] == "CRASHED"
    causes = ["The job failed: the pod was evicted"]
    if harness.server.major == 2:  # the run may say it itself, if it has the time
        causes.append("Execution was aborted by a termination signal.")
    assert any(cause in state["message"] for cause in causes)
    assert "here to stay" in harness.log("evicted", "he pod was evicted")


@pytest.mark.parametrize("harness", [PREFECT_3], indirect=True)
def test_evicted_run_that_is_rescheduled_runs_again(harness: NodeHarness) -> None:
    harness.state("put-back", "RUNNING")
    harness.log("put-back", "here to stay")
    harness.evict("put-back")
    assert harness.state("put-back", "COMPLETED", "CRASHED")["type"] == "COMPLETED"
    assert harness.states("put-back").count("RUNNING") == 2
    assert "up again" in harness.log("put-back", "up again")


def test_scheduled_run_completes(harness: NodeHarness) -> None:
    harness.scheduled("succeeds", "on-schedule")
    harness.state("on-schedule", "COMPLETED")
    (job,) = harness.jobs("on-schedule")
    assert harness.run("on-schedule")["infrastructure_pid"].endswith(f":{job['metadata']['name']}")
    until(lambda: harness.jobs("on-schedule")[0]["status"].get("succeeded") == 1)
    log = harness.log("on-schedule", "all is well")
    assert f"created job '{job['metadata']['name']}'" in log


def test_failure_of_a_flow_is_reported_by_the_flow(harness: NodeHarness) -> None:
    state = harness.state("fails", "FAILED", "CRASHED", "COMPLETED")
    assert state["type"] == "FAILED"
    assert "the flow gave up by itself" in state["message"]
    pod = harness.pod("fails", "Succeeded")
    (container,) = pod["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 0
    assert "ValueError: the flow gave up by itself" in harness.log("fails", "ValueError")


def test_run_out_of_memory_crashes(harness: NodeHarness) -> None:
    state = harness.state("out-of-memory", "CRASHED", "FAILED", "COMPLETED")
    assert state["type"] == "CRASHED"
    assert "it used more memory than its limit of 300Mi" in state["message"]
    assert "still hungry" in harness.log("out-of-memory", "The last lines of job")
    assert harness.states("out-of-memory").count("CRASHED") == 1


def test_run_with_missing_image_crashes(harness: NodeHarness) -> None:
    state = harness.state("no-image", "CRASHED", "COMPLETED")
    assert "the image 'empty.test/no/such:image' cannot be pulled: not found" in state["message"]
    assert "There is no such image or tag" in state["message"]
    assert harness.jobs("no-image") == []
    assert "RUNNING" not in harness.states("no-image")


def test_run_whose_process_is_killed_before_its_retry_crashes(harness: NodeHarness) -> None:
    state = harness.state("killed", "CRASHED", "COMPLETED", "FAILED")
    assert state["type"] == "CRASHED"
    assert "The job failed: " in state["message"]
    assert "The run was waiting for a retry" in state["message"]
    assert "the source is down" in harness.log("killed", "The last lines of job")
    assert harness.claims("killed") == 1


def test_run_that_exceeds_its_time_is_not_run_again(harness: NodeHarness) -> None:
    """Prefect 3's process schedules it when its pod gets SIGTERM."""
    state = harness.state("too-long", "CRASHED")
    causes = [f"The job ran longer than {RUN_TIMEOUT} seconds"]
    if harness.server.major == 2:  # the run may say it itself, if it has the time
        causes.append("Execution was aborted by a termination signal.")
    assert any(cause in state["message"] for cause in causes)
    harness.pod_is_over("too-long")
    assert harness.claims("too-long") == 1
    assert harness.run("too-long")["state_type"] == "CRASHED"


def test_one_job_per_attempt(harness: NodeHarness) -> None:
    for name in {each["name"] for each in harness.deployments} - {*LOST}:
        made = harness.log(name, "created job").count("created job")
        assert made == harness.states(name).count("SCHEDULED"), name
