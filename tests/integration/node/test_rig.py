"""The node of the test rig, on which the end-to-end tests rely."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster.node import Node, lacks
from tests.support.servers import PREFECT_2, PREFECT_3, ROOT
from tests.support.waiting import until

# The first test may have to make the images.
pytestmark = pytest.mark.timeout(900)

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
NODE_WITH_A_POD = """
import time
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.images import PAUSE
from tests.support.cluster.node import Node

pod = {"metadata": {"name": "stays"}, "spec": {"containers": [{"name": "stays", "image": PAUSE}]}}
with ControlPlane(controllers=["*"]) as plane, Node(plane) as node:
    plane.request("POST", "/api/v1/namespaces/default/pods", pod)
    path = "/api/v1/namespaces/default/pods/stays"
    while plane.request("GET", path)["status"]["phase"] != "Running":
        time.sleep(0.1)
    print(node.folder, node.bridge, flush=True)
    time.sleep(600)
"""


def start(node: Node, name: str, **container: Any) -> None:
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", **container}]}
    job = {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}}
    node.control_plane.request("POST", JOBS, job)


def ended(node: Node, name: str) -> str:
    """The condition under which the job ended; "" as long as it has none."""
    conditions = node.control_plane.request("GET", f"{JOBS}/{name}")["status"].get("conditions", [])
    return next((each["type"] for each in conditions if each["type"] in {"Complete", "Failed"}), "")


def pod(node: Node, job: str) -> Any:
    (found,) = node.control_plane.admin.items(f"{PODS}?labelSelector=job-name={job}")
    return found


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_job_runs_prefect_and_has_a_log(node: Node, version: str) -> None:
    name = f"prints-{version}"
    code = "import prefect; print('this is', prefect.__version__)"
    start(node, name, image=f"flow:{version}", args=["python3", "-c", code])
    until(lambda: ended(node, name) != "", seconds=240)
    log = node.control_plane.request("GET", f"{PODS}/{pod(node, name)['metadata']['name']}/log")
    assert (ended(node, name), log) == ("Complete", f"this is {version}\n")


def test_container_over_its_memory_limit_is_killed(node: Node) -> None:
    limits = {"limits": {"memory": "64Mi"}}
    code = "hoard = [bytearray(b'x' * 2**20) for _ in range(2**10)]"
    start(node, "eats", image=f"flow:{PREFECT_3}", args=["python3", "-c", code], resources=limits)
    until(lambda: ended(node, "eats") == "Failed", seconds=240)
    (container,) = pod(node, "eats")["status"]["containerStatuses"]
    assert container["state"]["terminated"]["reason"] == "OOMKilled"


def test_missing_image_is_not_pulled_from_elsewhere(node: Node) -> None:
    start(node, "lacking", image="no/such:image")

    def reason() -> str:
        (container,) = pod(node, "lacking")["status"].get("containerStatuses", [{}])
        found: str = container.get("state", {}).get("waiting", {}).get("reason", "")
        return found

    until(lambda: reason() in {"ErrImagePull", "ImagePullBackOff"}, seconds=240)


def test_killed_test_run_leaves_nothing_behind() -> None:
    if reason := lacks():
        pytest.skip(reason)
    with subprocess.Popen(
        [sys.executable, "-c", NODE_WITH_A_POD],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout
        folder, bridge = owner.stdout.readline().split()
        assert Path("/sys/class/net", bridge).exists()
        owner.kill()
    until(lambda: not Path(folder).exists())
    assert not Path("/sys/class/net", bridge).exists()
    assert not list(Path("/sys/fs/cgroup").rglob(bridge))
    assert bridge not in Path("/proc/self/mounts").read_text()
    assert not [process for process in os.listdir("/proc") if folder in command(process)]  # noqa: PTH208


def command(process: str) -> str:
    try:
        return Path("/proc", process, "cmdline").read_text()
    except (OSError, UnicodeDecodeError):
        return ""
