"""Fifty runs at once and the memory of a worker, compared with `prefect worker start`.

Both workers create Jobs from the same pool template, on a control plane without nodes: only the
worker, the server and the Kubernetes API take time. Seconds count from the start of the worker
process, which happens once the server is idle. The live Jobs of the last rows are created by the
benchmark, each with a pod; Prefect's worker keeps no record of them, so there is no comparison.
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

from benchmarks.row import Maximum, Ratio
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
"""Seconds after which the server gives up a write. With Prefect's 60, a single hang of SQLite would
decide the result of either worker."""
TIMEOUT = 300.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Submitted:
    """The cost of submitting all runs: seconds since the start, CPU seconds, megabytes."""

    first: float
    last: float
    cpu: float
    memory: float


def rows() -> Iterator[Ratio | Maximum]:
    """Compare time, CPU and memory of both workers, then measure ours with many Jobs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(PREFECT_3, scheduler=False, busy=BUSY, tuned=False) as server,
        ControlPlane(controllers=CONTROLLERS) as plane,
    ):
        bench = WorkerBenchmark(server, plane, Path(folder))
        prefect, deployctl = bench.submit(bench.prefect), bench.submit(bench.deployctl)
        yield Ratio(f"{RUNS} runs at once: first Job", prefect.first, deployctl.first)
        yield Ratio(f"{RUNS} runs at once: last Job", prefect.last, deployctl.last, 10.0)
        yield Ratio(f"{RUNS} runs at once: CPU", prefect.cpu, deployctl.cpu)
        yield Ratio(f"{RUNS} runs at once: memory", prefect.memory, deployctl.memory, unit="MB")
        idle = bench.idle(bench.prefect), bench.idle(bench.deployctl)
        yield Ratio("idle: memory", *idle, unit="MB")
        yield Maximum("first Job after the start", deployctl.first, 1.0)
        yield Maximum(f"memory with {RUNS} runs", deployctl.memory, 60.0, "MB")
        yield Maximum("memory with 1,000 live Jobs", bench.crowded(1000), 72.0, "MB")
        yield Maximum("memory with 5,000 live Jobs", bench.crowded(5000), 72.0, "MB")


class WorkerBenchmark:
    """A server, a cluster, and the two workers that connect them."""

    def __init__(self, server: Server, plane: ControlPlane, folder: Path) -> None:
        self._server, self._plane, self._folder = server, plane, folder

    def prefect(self, pool: str) -> list[str]:
        """Return the command line of Prefect's worker."""
        program = str(self._server.python.with_name("prefect"))
        return [program, "worker", "start", "--pool", pool, "--type", "kubernetes"]

    def deployctl(self, pool: str) -> list[str]:
        """Return the command line of deployctl's worker."""
        return [str(DEPLOYCTL), "worker", "--pool", pool]

    def submit(self, command: Callable[[str], list[str]]) -> Submitted:
        """Measure a worker that submits the runs."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)
            _schedule(api, pool["name"])
            self._await_idle_server()
            jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs?limit={RUNS}"
            with self._run_worker(command(pool["name"])) as worker:
                start, first = time.perf_counter(), 0.0
                while (created := len(self._plane.admin.items(jobs))) < RUNS:
                    elapsed = time.perf_counter() - start
                    first = first or (elapsed if created else 0.0)
                    _check(worker, elapsed)
                    time.sleep(0.02)
                last = time.perf_counter() - start
                return Submitted(first or last, last, _cpu(worker.pid), _peak(worker.pid))

    def _await_idle_server(self) -> None:
        """Wait until the server has finished the background work of earlier steps."""
        before = -1.0
        while (now := _cpu(self._server.pid)) - before > 0.2:
            before = now
            time.sleep(2)

    def idle(self, command: Callable[[str], list[str]]) -> float:
        """Return the peak memory of a worker without runs, 10 s after its first heartbeat."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)["name"]
            with self._run_worker(command(pool)) as worker:
                start = time.perf_counter()
                while not api.call("POST", f"/work_pools/{pool}/workers/filter", {}):
                    _check(worker, time.perf_counter() - start)
                    time.sleep(0.1)
                time.sleep(10)
                return _peak(worker.pid)

    def crowded(self, count: int) -> float:
        """Return the peak memory of our worker with this number of running Jobs."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)
            with ThreadPoolExecutor(16) as threads:
                list(threads.map(lambda _: self._create_job(namespace, pool["id"]), range(count)))
            port = free_port()
            web = {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}
            command = [*self.deployctl(pool["name"]), "--with-healthcheck"]
            with self._run_worker(command, **web) as worker:
                start = time.perf_counter()
                while _known_jobs(port) < count:
                    _check(worker, time.perf_counter() - start)
                    time.sleep(0.5)
                time.sleep(25)  # the worker reads the server's runs twice
                return _peak(worker.pid)

    @contextmanager
    def _run_worker(self, command: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
        connections = {
            "PREFECT_API_URL": self._server.api_url,
            "KUBECONFIG": str(self._plane.kubeconfig),
        }
        with (self._folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=isolated(self._folder / "home", **connections, **env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _create_job(self, namespace: str, pool: str) -> None:
        """Create a Job of realistic size with a running pod."""
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


def _check(worker: subprocess.Popen[bytes], elapsed: float) -> None:
    """Raise `RuntimeError` when the worker has exited or time is up."""
    if worker.poll() is not None or elapsed > TIMEOUT:
        raise RuntimeError(f"{worker.args!r} exited early or timed out")


def _known_jobs(port: int) -> float:
    """Return how many running Jobs our worker reports."""
    with (
        suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page,
    ):
        found = re.search(r'worker_jobs\{[^}]*phase="running"[^}]*\} (\S+)', page.read().decode())
        return float(found[1]) if found else 0.0
    return 0.0


def _cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _peak(pid: int) -> float:
    """Return the peak memory of a process in megabytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024
