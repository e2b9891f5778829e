"""A worker between two proxies, in front of a real Prefect server and a real cluster.

Nothing runs in the pods: a test acts as the kubelet (`harness.kubelet`) and as the flow's process
(`harness.report`). Everything else is real: deployctl is a process of its own and can be killed.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from deployctl.jobs.base_job_templates import base_job_template
from deployctl.worker.timings import Timings
from tests.support.api import Api
from tests.support.cluster.api import KubeApi
from tests.support.cluster.pods import Kubelet, unscheduled
from tests.support.cluster.proxy import KubeProxy
from tests.support.environment import isolated
from tests.support.fast_timings import FAST
from tests.support.ports import held_port
from tests.support.proxy import Proxy
from tests.support.servers import ROOT
from tests.support.waiting import TIMEOUT, until

PROGRAM = [sys.executable, "-m", "tests.support.quick_worker"]
COMMAND = ["worker", "--with-healthcheck", "--log-format", "json"]
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "1",
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "1",
}


class WorkerProcess:
    """`deployctl worker` as a context manager that starts and stops the process."""

    def __init__(
        self,
        folder: Path,
        env: dict[str, str],
        *args: str,
        timings: Timings = FAST,
        clock_offset: float = 0.0,
    ) -> None:
        """`clock_offset`: seconds by which the clock of the process is wrong."""
        self._held = held_port()
        self.port: int = self._held.getsockname()[1]
        injected = json.dumps({"timings": asdict(timings), "clock_offset": clock_offset})
        self._command = [*PROGRAM, injected, *COMMAND, *args]
        self._folder = folder
        self._env = isolated(folder / "home", **QUICK | env)
        self._env["PREFECT_WORKER_WEBSERVER_PORT"] = str(self.port)
        self._env["PYTHONPATH"] = str(ROOT)
        self._log = folder / f"worker-{uuid.uuid4().hex[:6]}.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def output(self) -> str:
        """Everything that the process wrote."""
        return self._log.read_text(errors="replace")

    @property
    def log_entries(self) -> list[Any]:
        """All entries of the event log."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def entries(self, event: str, **facts: Any) -> list[Any]:
        """Entries of the event log with this event and these facts."""
        lines = [line for line in self.log_entries if line["event"] == event]
        return [line for line in lines if facts.items() <= line["facts"].items()]

    def await_entry(self, event: str, **facts: Any) -> Any:
        """Wait for the first such entry."""
        return until(lambda: self.entries(event, **facts), lambda: self.output)[0]

    def kill(self) -> None:
        """Kill the process, as a power failure would."""
        self.process.kill()
        self.process.wait()
        self._held.close()

    def stop(self) -> int:
        """Stop the process with SIGTERM, as Kubernetes does; returns its exit code."""
        if self.is_alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self.kill()

    def wait(self) -> int:
        """Wait for the end of the process; returns its exit code."""
        return self.process.wait(TIMEOUT)

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the health server; status 0 while the port is closed."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=TIMEOUT) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


class WorkerHarness:
    """A work pool on a server, a namespace of a cluster, and workers of the pool."""

    def __init__(
        self,
        api: Api,
        proxy: Proxy,
        kube_proxy: KubeProxy,
        kube: KubeApi,
        namespace: str,
        folder: Path,
    ) -> None:
        self.api, self.proxy, self.kube_proxy, self.kube = api, proxy, kube_proxy, kube
        self.namespace, self.folder = namespace, folder
        self._workers: list[WorkerProcess] = []
        self.kubelet = Kubelet(kube, namespace)
        self.jobs_path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self.major = int(api.call("GET", "/admin/version").partition(".")[0])
        self.pool = f"pool-{uuid.uuid4().hex[:8]}"
        template = unscheduled(base_job_template("kubernetes"))
        defaults = {"namespace": namespace, "image": "flow:1", "pod_watch_timeout_seconds": 600}
        for name, default in defaults.items():
            template["variables"]["properties"][name]["default"] = default
        self.pool_id = api.pool(self.pool, "kubernetes", template)["id"]
        self.flow_id = api.call("POST", "/flows/", {"name": f"flow-{self.pool}"})["id"]
        self.deployment_id = self.deployment("main")

    # Prefect server

    def deployment(self, name: str, **fields: Any) -> str:
        """Create a deployment on the pool; returns its id."""
        body = {
            "name": name,
            "flow_id": self.flow_id,
            "work_pool_name": self.pool,
            "entrypoint": "flows.py:main",
            "enforce_parameter_schema": False,
            **fields,
        }
        found: str = self.api.call("POST", "/deployments/", body)["id"]
        return found

    def run(self, deployment: str = "", **fields: Any) -> str:
        """Create a run that is due now; returns its id."""
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        body = {"state": state, "idempotency_key": uuid.uuid4().hex, **fields}
        path = f"/deployments/{deployment or self.deployment_id}/create_flow_run"
        found: str = self.api.call("POST", path, body)["id"]
        return found

    def read(self, run: str) -> Any:
        """Read a run."""
        return self.api.call("GET", f"/flow_runs/{run}")

    def states(self, run: str) -> list[Any]:
        """All states of a run, in order."""
        found = self.api.call("GET", f"/flow_run_states/?flow_run_id={run}")
        return sorted(found, key=lambda state: state["timestamp"])

    def types(self, run: str) -> list[str]:
        """The types of all states of a run, in order."""
        return [state["type"] for state in self.states(run)]

    def report(
        self,
        run: str,
        type: str,  # noqa: A002
        name: str = "",
        details: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Any:
        """Propose a state as the flow's process or a user does; returns the server's answer."""
        state = {
            "type": type,
            "name": name or type.title(),
            "message": "by the test",
            "state_details": {"transition_id": str(uuid.uuid4()), **(details or {})},
        }
        return self.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, **more})

    def await_state(self, run: str, *types: str) -> Any:
        """Wait until the run's state is of one of these types; returns it."""

        def reached() -> Any:
            state = self.read(run)["state"]
            return state if state["type"] in types else None

        return until(reached, lambda: f"{self.types(run)}\n{self.worker_output()}")

    def log(self, run: str) -> str:
        """The text of the run's log."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.api.call("POST", "/logs/filter", body))

    # Cluster

    def jobs(self, run: str = "") -> list[Any]:
        """The Jobs of the namespace, or those of one run."""
        found = self.kube.items(self.jobs_path)
        return [
            job
            for job in found
            if not run or job["metadata"]["labels"].get("deployctl.io/run-id") == run
        ]

    def await_job(self, run: str) -> str:
        """Wait for the run's Job; returns its name."""
        found = until(lambda: self.jobs(run), self.worker_output)
        name: str = found[0]["metadata"]["name"]
        return name

    def await_no_job(self, run: str) -> None:
        """Wait until the run has no Job; terminating pods are removed, as a kubelet does it."""

        def gone() -> bool:
            self.kubelet.remove_terminating()
            return not self.jobs(run)

        until(gone, self.worker_output)

    def await_pod(self, run: str) -> str:
        """Wait for the pod of the run's Job; returns its name."""
        return self.kubelet.pod_of(self.await_job(run))

    def finish(self, run: str) -> None:
        """Act as the flow's process and the kubelet until the run is completed."""
        pod = self.begin(run)
        self.report(run, "COMPLETED")
        self.kubelet.succeeded(pod)

    def begin(self, run: str) -> str:
        """Act as both until the run is running; returns the name of its pod."""
        pod = self.await_pod(run)
        self.kubelet.running(pod)
        self.report(run, "RUNNING")
        return pod

    # Workers

    def worker(
        self, *args: str, timings: Timings = FAST, clock_offset: float = 0.0, **env: str
    ) -> WorkerProcess:
        """Create a worker of the pool, not started yet; see `WorkerProcess`."""
        sides = {
            "PREFECT_API_URL": self.proxy.api_url,
            "KUBECONFIG": str(self.kube_proxy.kubeconfig),
        }
        args = ("--pool", self.pool, *args)
        worker = WorkerProcess(
            self.folder, sides | env, *args, timings=timings, clock_offset=clock_offset
        )
        self._workers.append(worker)
        return worker

    def worker_output(self) -> str:
        """The end of the output of all workers, for failure messages."""
        return "\n".join(worker.output[-4000:] for worker in self._workers)


def without_hand_backs(states: list[Any]) -> tuple[list[str], int]:
    """The types of a run's states without repetitions and without claims after its end, and the
    number of such claims.

    Servers accept such a claim, and the worker then restores the final state. The claim's timestamp
    is that of its arrival, which may be before the end. A scheduled run can be claimed once.
    """
    claims = [state["id"] for state in states if state["name"] == "Pending"]
    late = claims[sum(state["type"] == "SCHEDULED" for state in states) :]
    kept = (state["type"] for state in states if state["id"] not in late)
    return [type_ for type_, _ in groupby(kept)], len(late)
