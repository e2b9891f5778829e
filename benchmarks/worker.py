"""Fifty runs at once, and the memory of a worker: beside the real `prefect worker start`.

Both make Jobs from the same pool template, on a control plane without nodes, so that nothing but
the worker, the server and the Kubernetes API takes time. Seconds count from the start of the
program, which comes when the server has been idle for a while. The live Jobs of the last rows are
made by hand, with a pod each; Prefect's worker keeps nothing of them in memory that could be
compared.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.row import Most, Row
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.job_labels import ATTEMPT, POOL, RUN, owner_label
from tests.support.api import Api
from tests.support.cluster.control_plane import ControlPlane
from tests.support.environment import isolated
from tests.support.servers import PREFECT_3, Server, free_port, running

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
CONTROLLERS = ("namespace-controller", "serviceaccount-controller")
RUNS = 50
BUSY = 2.0
"""Seconds after which the server gives up a write: with Prefect's 60, a single hang of SQLite
decides the figures of either worker."""
PATIENCE = 300.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Submitted:
    """What it took to submit all runs: seconds since the start, CPU seconds, and megabytes."""

    first: float
    last: float
    cpu: float
    memory: float


def rows() -> Iterator[Row | Most]:
    """Time, CPU and memory of both, and then our memory with many Jobs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(PREFECT_3, scheduler=False, busy=BUSY, tuned=False) as server,
        ControlPlane(controllers=CONTROLLERS) as plane,
    ):
        lab = Lab(server, plane, Path(folder))
        theirs, ours = lab.submit(lab.prefect), lab.submit(lab.deployctl)
        yield Row(f"{RUNS} runs at once: first Job", theirs.first, ours.first)
        yield Row(f"{RUNS} runs at once: last Job", theirs.last, ours.last, 10.0)
        yield Row(f"{RUNS} runs at once: CPU", theirs.cpu, ours.cpu)
        yield Row(f"{RUNS} runs at once: memory", theirs.memory, ours.memory, unit="MB")
        idle = lab.idle(lab.prefect), lab.idle(lab.deployctl)
        yield Row("idle: memory", *idle, unit="MB")
        yield Most("first Job after the start", ours.first, 1.0)
        yield Most(f"memory with {RUNS} runs", ours.memory, 60.0, "MB")
        yield Most("memory with 1,000 live Jobs", lab.crowded(1000), 72.0, "MB")
        yield Most("memory with 5,000 live Jobs", lab.crowded(5000), 72.0, "MB")


class Lab:
    """A server and a cluster, and the two workers between them."""

    def __init__(self, server: Server, plane: ControlPlane, folder: Path) -> None:
        self._server, self._plane, self._folder = server, plane, folder

    def prefect(self, pool: str) -> list[str]:
        """The command of Prefect's worker."""
        program = str(self._server.python.with_name("prefect"))
        return [program, "worker", "start", "--pool", pool, "--type", "kubernetes"]

    def deployctl(self, pool: str) -> list[str]:
        """The command of ours."""
        return [str(DEPLOYCTL), "worker", "--pool", pool]

    def submit(self, command: Callable[[str], list[str]]) -> Submitted:
        """Lets a worker submit the runs."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)
            _schedule(api, pool["name"])
            self._rest()
            jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs?limit={RUNS}"
            with self._working(command(pool["name"])) as worker:
                start, first = time.perf_counter(), 0.0
                while (made := len(self._plane.admin.items(jobs))) < RUNS:
                    passed = time.perf_counter() - start
                    first = first or (passed if made else 0.0)
                    _check(worker, passed)
                    time.sleep(0.02)
                last = time.perf_counter() - start
                return Submitted(first or last, last, _cpu(worker.pid), _peak(worker.pid))

    def _rest(self) -> None:
        """Waits until the server has nothing left to write of what was done before."""
        before = -1.0
        while (now := _cpu(self._server.pid)) - before > 0.2:
            before = now
            time.sleep(2)

    def idle(self, command: Callable[[str], list[str]]) -> float:
        """The memory of a worker that has nothing to do, a while after its first heartbeat."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)["name"]
            with self._working(command(pool)) as worker:
                start = time.perf_counter()
                while not api.call("POST", f"/work_pools/{pool}/workers/filter", {}):
                    _check(worker, time.perf_counter() - start)
                    time.sleep(0.1)
                time.sleep(10)
                return _peak(worker.pid)

    def crowded(self, count: int) -> float:
        """The most memory that our worker takes when it finds so many Jobs that run."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)
            with ThreadPoolExecutor(16) as threads:
                making = threads.map(lambda _: self._job(namespace, pool["id"]), range(count))
                list(making)
            port = free_port()
            web = {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}
            command = [*self.deployctl(pool["name"]), "--with-healthcheck"]
            with self._working(command, **web) as worker:
                start = time.perf_counter()
                while _running(port) < count:
                    _check(worker, time.perf_counter() - start)
                    time.sleep(0.5)
                time.sleep(25)  # two looks at the server's runs
                return _peak(worker.pid)

    @contextmanager
    def _working(self, command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
        sides = {
            "PREFECT_API_URL": self._server.api_url,
            "KUBECONFIG": str(self._plane.kubeconfig),
        }
        with (self._folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=isolated(self._folder / "home", **sides, **env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _job(self, namespace: str, pool: str) -> None:
        """A Job with a pod that runs, as large as real ones are."""
        name, kube = f"job-{uuid.uuid4().hex}", self._plane.admin
        labels = {POOL: pool, RUN: str(uuid.uuid4()), ATTEMPT: str(uuid.uuid4())}
        labels |= owner_label(f"{self._plane.uid}/default/{pool}")
        env = [{"name": f"PREFECT_SETTING_{number}", "value": "x" * 40} for number in range(20)]
        main = {"name": "prefect-job", "image": "flow:1", "env": env}
        pod = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [main]},
        }
        job = {"metadata": pod["metadata"], "spec": {"backoffLimit": 0, "template": pod}}
        kube.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job)
        pods = f"/api/v1/namespaces/{namespace}/pods"
        kube.request("POST", pods, pod)
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        container = {"name": "prefect-job", "image": "flow:1", "imageID": "", "ready": True}
        status = {
            "phase": "Running",
            "containerStatuses": [container | {"restartCount": 0, "state": running}],
        }
        kube.request("PATCH", f"{pods}/{name}/status", {"status": status})


def _pool(api: Api, namespace: str) -> Any:
    template = base_job_template("kubernetes")
    template["variables"]["properties"]["namespace"]["default"] = namespace
    template["variables"]["properties"]["image"]["default"] = "flow:1"
    template["variables"]["properties"]["stream_output"]["default"] = False
    return api.pool(namespace, "kubernetes", template)


def _schedule(api: Api, pool: str) -> None:
    flow = api.call("POST", "/flows/", {"name": pool})["id"]
    body = {"name": pool, "flow_id": flow, "work_pool_name": pool, "entrypoint": "flows.py:main"}
    deployment = api.call("POST", "/deployments/", body)["id"]
    for _ in range(RUNS):
        due = {"state": {"type": "SCHEDULED", "name": "Scheduled"}}
        api.call("POST", f"/deployments/{deployment}/create_flow_run", due)


def _check(worker: subprocess.Popen[bytes], passed: float) -> None:
    """Raises RuntimeError when there is nothing more to wait for."""
    if worker.poll() is not None or passed > PATIENCE:
        raise RuntimeError(f"{worker.args!r} did not do its work")


def _running(port: int) -> float:
    """How many Jobs that run our worker knows of."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page,
    ):
        found = re.search(r'worker_jobs\{phase="running"\} (\S+)', page.read().decode())
        return float(found[1]) if found else 0.0
    return 0.0


def _cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak(pid: int) -> float:
    """The most megabytes of memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
