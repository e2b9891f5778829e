"""Fifty runs at once, one run on an idle worker, and memory, beside `prefect worker start`.

    python -m benchmarks.worker --server postgres

Both workers create Jobs from the same pool template, on a control plane without nodes: only the
worker, the server and the Kubernetes API take time. Seconds count from the start of the worker
process, which happens once the server is idle. CPU seconds and requests depend less than they on
what else the machine does; requests are counted in a run of their own, through a proxy. The live
Jobs of the last rows are created by the benchmark, each with a pod; Prefect's worker keeps no
record of them, so there is no comparison.
"""

from __future__ import annotations

import argparse
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.row import HEADER, Maximum, Ratio
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.job_labels import ATTEMPT, POOL, RUN, owner_label
from tests.support.api import Api
from tests.support.cluster.control_plane import ControlPlane
from tests.support.databases import lacks_postgres
from tests.support.environment import isolated
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_3, Server, free_port, running

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
CONTROLLERS = ("namespace-controller", "serviceaccount-controller")
RUNS = 50
BUSY = 2.0
"""Seconds after which the server gives up a write. With Prefect's 60, a single hang of SQLite would
decide the result of either worker."""
TIMEOUT = 300.0
AHEAD = timedelta(seconds=20)
"""From the creation of the run on an idle worker to its start: more than an interval of polls."""
MIN_RATIO = {"sqlite": 10.0, "postgres": 3.0}
"""Database → how many times sooner than Prefect's worker the last Job exists."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Submitted:
    """The cost of submitting all runs: seconds since the start, CPU seconds, megabytes."""

    first: float
    last: float
    cpu: float
    server_cpu: float
    memory: float


def rows(database: str = "sqlite") -> Iterator[Ratio | Maximum]:
    """Compare both workers on a server with this database, then measure ours with many Jobs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(PREFECT_3, scheduler=False, busy=BUSY, tuned=False, database=database) as server,
        ControlPlane(controllers=CONTROLLERS) as plane,
    ):
        bench = WorkerBenchmark(server, plane, Path(folder))
        prefect, deployctl = bench.submit(bench.prefect), bench.submit(bench.deployctl)
        runs = f"{RUNS} runs at once"
        ratio = MIN_RATIO[database]
        yield Ratio(f"{database}, {runs}: first Job", prefect.first, deployctl.first)
        yield Ratio(f"{database}, {runs}: last Job", prefect.last, deployctl.last, ratio)
        yield Ratio(f"{database}, {runs}: CPU", prefect.cpu, deployctl.cpu)
        yield Ratio(f"{database}, {runs}: server's CPU", prefect.server_cpu, deployctl.server_cpu)
        yield Ratio(f"{database}, {runs}: memory", prefect.memory, deployctl.memory, unit="MB")
        yield Maximum(f"{database}, {runs}: first Job", deployctl.first, 1.0)
        yield Maximum(f"{database}, {runs}: last Job", deployctl.last, 3.0)
        yield Maximum(f"{database}, {runs}: memory", deployctl.memory, 60.0, "MB")
        before, in_all = bench.requests()
        yield Maximum(f"{database}, {runs}: requests, last Job", before, 2 * RUNS + 30, "")
        yield Maximum(f"{database}, {runs}: requests in all", in_all, 4 * RUNS + 40, "")
        late = bench.lateness(bench.prefect), bench.lateness(bench.deployctl)
        yield Ratio(f"{database}, idle: lateness of a Job", *late)
        yield Maximum(f"{database}, idle: lateness of a Job", late[1], 0.3)
        if database == "sqlite":
            idle = bench.idle(bench.prefect), bench.idle(bench.deployctl)
            yield Ratio("idle: memory", *idle, unit="MB")
            yield Maximum("memory with 1,000 live Jobs", bench.crowded(1000), 72.0, "MB")
            yield Maximum("memory with 5,000 live Jobs", bench.crowded(5000), 72.0, "MB")


def on_all_databases() -> Iterator[Ratio | Maximum]:
    """Run the benchmark on SQLite, and on PostgreSQL where it can be had."""
    yield from rows("sqlite")
    if reason := lacks_postgres():
        print(f"not on PostgreSQL: {reason}", file=sys.stderr)
    else:
        yield from rows("postgres")


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
            pool = _pool(api, namespace)["name"]
            _schedule(api, pool)
            self._await_idle_server()
            server_cpu = cpu_seconds(self._server.pid)
            with self._run_worker(command(pool)) as worker:
                first, last = self._await_jobs(namespace, worker, RUNS)
                server_cpu = cpu_seconds(self._server.pid) - server_cpu
                return Submitted(
                    first, last, cpu_seconds(worker.pid), server_cpu, _peak(worker.pid)
                )

    def requests(self) -> tuple[int, int]:
        """Return how many requests our worker sends until the last of the runs has its Job, and
        until it has reported all of them."""
        with (
            self._plane.namespace() as namespace,
            Api(self._server.api_url) as api,
            Proxy(self._server.api_url) as proxy,
        ):
            pool = _pool(api, namespace)["name"]
            _schedule(api, pool)
            with self._run_worker(self.deployctl(pool), PREFECT_API_URL=proxy.api_url) as worker:
                self._await_jobs(namespace, worker, RUNS)
                before = len(proxy.exchanges)
                start = time.perf_counter()
                while len(proxy.seen("PATCH", "/labels$")) < RUNS:
                    _check(worker, time.perf_counter() - start)
                    time.sleep(0.1)
                return before, len(proxy.exchanges)

    def lateness(self, command: Callable[[str], list[str]]) -> float:
        """Return the seconds from the scheduled start of a run until its Job exists, for a worker
        that has nothing else to do."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)["name"]
            deployment = _deployment(api, pool)
            with self._run_worker([*command(pool), "--prefetch-seconds", "0"]) as worker:
                self._await_heartbeat(api, pool, worker)
                time.sleep(5)
                due = datetime.now(UTC) + AHEAD
                _create_run(api, deployment, {"scheduled_time": due.isoformat()})
                self._await_jobs(namespace, worker, 1)
                return (datetime.now(UTC) - due).total_seconds()

    def _await_jobs(
        self, namespace: str, worker: subprocess.Popen[bytes], count: int
    ) -> tuple[float, float]:
        """Return the seconds until the first and until this number of Jobs exist."""
        jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs?limit={RUNS}"
        start, first = time.perf_counter(), 0.0
        while (created := len(self._plane.admin.items(jobs))) < count:
            elapsed = time.perf_counter() - start
            first = first or (elapsed if created else 0.0)
            _check(worker, elapsed)
            time.sleep(0.02)
        last = time.perf_counter() - start
        return first or last, last

    def _await_idle_server(self) -> None:
        """Wait until the server has finished the background work of earlier steps."""
        before = -1.0
        while (now := cpu_seconds(self._server.pid)) - before > 0.2:
            before = now
            time.sleep(2)

    def idle(self, command: Callable[[str], list[str]]) -> float:
        """Return the peak memory of a worker without runs, 10 s after its first heartbeat."""
        with self._plane.namespace() as namespace, Api(self._server.api_url) as api:
            pool = _pool(api, namespace)["name"]
            with self._run_worker(command(pool)) as worker:
                self._await_heartbeat(api, pool, worker)
                time.sleep(10)
                return _peak(worker.pid)

    @staticmethod
    def _await_heartbeat(api: Api, pool: str, worker: subprocess.Popen[bytes]) -> None:
        start = time.perf_counter()
        while not api.call("POST", f"/work_pools/{pool}/workers/filter", {}):
            _check(worker, time.perf_counter() - start)
            time.sleep(0.1)

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
                env=isolated(self._folder / "home", **connections | env),
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
    deployment = _deployment(api, pool)
    for _ in range(RUNS):
        _create_run(api, deployment, {})


def _deployment(api: Api, pool: str) -> str:
    flow = api.call("POST", "/flows/", {"name": pool})["id"]
    body = {"name": pool, "flow_id": flow, "work_pool_name": pool, "entrypoint": "flows.py:main"}
    return str(api.call("POST", "/deployments/", body)["id"])


def _create_run(api: Api, deployment: str, details: dict[str, str]) -> None:
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": details}
    api.call("POST", f"/deployments/{deployment}/create_flow_run", {"state": state})


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


def cpu_seconds(pid: int, *, ended: bool = False) -> float:
    """Return the CPU seconds that a process has used; `ended`: and its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS


def _peak(pid: int) -> float:
    """Return the peak memory of a process in megabytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1024


def main() -> None:
    """Print a row per measurement."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--server", choices=MIN_RATIO, help="database of the server; default: both")
    database = parser.parse_args().server
    print(HEADER)
    for row in rows(database) if database else on_all_databases():
        print(row, flush=True)


if __name__ == "__main__":
    main()
