"""Pods whose process is to take the run's next step, or must not: a real `flow-run execute`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import needs
from tests.support.cluster.node import Node
from tests.support.node_harness import NodeHarness
from tests.support.servers import PREFECT_2, PREFECT_3

pytestmark = pytest.mark.timeout(900)

RUN_TIMEOUT = 120
"""Seconds in which a flow starts on a busy machine, in most cases."""


def deployments(_version: str) -> list[dict[str, Any]]:
    limits = {"job_watch_timeout_seconds": RUN_TIMEOUT}
    return [
        {"name": "too-long", "entrypoint": "lasts", "work_pool": {"job_variables": limits}},
        {"name": "killed", "entrypoint": "retries"},
    ]


@pytest.fixture(scope="module", params=[PREFECT_3, PREFECT_2])
def harness(
    request: pytest.FixtureRequest, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NodeHarness]:
    needs(request.param)
    folder: Path = tmp_path_factory.mktemp("harness")
    with NodeHarness(request.param, node, folder, deployments) as harness:
        for each in harness.deployments:
            harness.start(each["entrypoint"], each["name"])
        yield harness


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


def test_run_whose_process_is_killed_before_its_retry_crashes(harness: NodeHarness) -> None:
    state = harness.state("killed", "CRASHED", "COMPLETED", "FAILED")
    assert state["type"] == "CRASHED"
    assert "The job failed: " in state["message"]
    assert "The run was waiting for a retry" in state["message"]
    assert "the source is down" in harness.log("killed", "The last lines of job")
    assert harness.claims("killed") == 1
