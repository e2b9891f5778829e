"""A worker between two proxies: a real Prefect server on one side, a real cluster on the other.

Nothing runs in the pods: a test plays the kubelet (`bench.kubelet`) and the flow's process
(`bench.report`). Everything else is real: deployctl is a process of its own, killed as it would be.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
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
from tests.support.waiting import PATIENCE, until

PROGRAM = [sys.executable, "-m", "tests.support.quick_worker"]
COMMAND = ["worker", "--with-healthcheck", "--log-format", "json"]
QUICK = {
    "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "1",
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "1",
}


class WorkerProcess:
    """`deployctl worker`, a context manager: starts on entering, is stopped on leaving."""

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
        """Everything that it wrote."""
        return self._log.read_text(errors="replace")

    @property
    def journal(self) -> list[Any]:
        """The lines of its journal."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def told(self, event: str, **facts: Any) -> list[Any]:
        """The lines of the journal with this event and these facts."""
        lines = [line for line in self.journal if line["event"] == event]
        return [line for line in lines if facts.items() <= line["facts"].items()]

    def await_told(self, event: str, **facts: Any) -> Any:
        """The first such line, once it is there."""
        return until(lambda: self.told(event, **facts), lambda: self.output)[0]

    def kill(self) -> None:
        """Ends it as a power failure would."""
        self.process.kill()
        self.process.wait()
        self._held.close()

    def stop(self) -> int:
        """Ends it as Kubernetes does; gives its exit code."""
        if self.is_alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self.kill()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE)

    def page(self, path: str) -> tuple[int, str]:
        """A page of its health server: status and text; status 0 while nobody listens."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""


class WorkerHarness:
    """A pool of its own on a server, a namespace of a cluster, and workers between them."""

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

    # The server's side

    def deployment(self, name: str, **fields: Any) -> str:
        """A deployment on the pool; gives its id."""
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
        """A run that is due now; gives its id."""
        state = {"type": "SCHEDULED", "name": "Scheduled"}
        body = {"state": state, "idempotency_key": uuid.uuid4().hex, **fields}
        path = f"/deployments/{deployment or self.deployment_id}/create_flow_run"
        found: str = self.api.call("POST", path, body)["id"]
        return found

    def read(self, run: str) -> Any:
        """The run as the server has it."""
        return self.api.call("GET", f"/flow_runs/{run}")

    def states(self, run: str) -> list[Any]:
        """All states of the run, in order."""
        found = self.api.call("GET", f"/flow_run_states/?flow_run_id={run}")
        return sorted(found, key=lambda state: state["timestamp"])

    def types(self, run: str) -> list[str]:
        """The types of all its states, in order."""
        return [state["type"] for state in self.states(run)]

    def report(self, run: str, type: str, name: str = "", **more: Any) -> Any:  # noqa: A002
        """Proposes a state as the flow's process or a person would; gives the server's answer."""
        state = {
            "type": type,
            "name": name or type.title(),
            "message": "by the test",
            "state_details": {"transition_id": str(uuid.uuid4())},
        }
        return self.api.call("POST", f"/flow_runs/{run}/set_state", {"state": state, **more})

    def await_state(self, run: str, *types: str) -> Any:
        """The run's state, once it is of one of these types."""

        def reached() -> Any:
            state = self.read(run)["state"]
            return state if state["type"] in types else None

        return until(reached, lambda: f"{self.types(run)}\n{self.workers_said()}")

    def log(self, run: str) -> str:
        """What stands in the run's log."""
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
        return "\n".join(line["message"] for line in self.api.call("POST", "/logs/filter", body))

    # The cluster's side

    def jobs(self, run: str = "") -> list[Any]:
        """The Jobs of the namespace, or those of one run."""
        found = self.kube.items(self.jobs_path)
        return [
            job
            for job in found
            if not run or job["metadata"]["labels"].get("deployctl.io/run-id") == run
        ]

    def await_job(self, run: str) -> str:
        """The name of the run's Job, once there is one."""
        found = until(lambda: self.jobs(run), self.workers_said)
        name: str = found[0]["metadata"]["name"]
        return name

    def await_no_job(self, run: str) -> None:
        """Waits until the run has no Job; pods that are asked to end do, as a kubelet has it."""

        def gone() -> bool:
            self.kubelet.remove_terminating()
            return not self.jobs(run)

        until(gone, self.workers_said)

    def await_pod(self, run: str) -> str:
        """The name of the pod of the run's Job, once there is one."""
        return self.kubelet.pod_of(self.await_job(run))

    def finish(self, run: str) -> None:
        """Plays the flow's process and the kubelet until the run is completed."""
        pod = self.begin(run)
        self.report(run, "COMPLETED")
        self.kubelet.succeeded(pod)

    def begin(self, run: str) -> str:
        """Plays them until the run is running; gives the name of its pod."""
        pod = self.await_pod(run)
        self.kubelet.running(pod)
        self.report(run, "RUNNING")
        return pod

    # Workers

    def worker(
        self, *args: str, timings: Timings = FAST, clock_offset: float = 0.0, **env: str
    ) -> WorkerProcess:
        """A worker of the pool, not started yet; see `WorkerProcess`."""
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

    def workers_said(self) -> str:
        """The last words of all workers, for messages."""
        return "\n".join(worker.output[-4000:] for worker in self._workers)


def without_hand_backs(states: list[Any]) -> tuple[list[str], int]:
    """The types of a run's states, each once in a row, without claims that came after its end, and
    how many these were.

    Servers accept such a claim, and the worker then puts the run back into the state in which it
    had ended. Its time is that of its arrival, which may be before the end. A run that is scheduled
    can be claimed once.
    """
    claims = [state["id"] for state in states if state["name"] == "Pending"]
    late = claims[sum(state["type"] == "SCHEDULED" for state in states) :]
    kept = (state["type"] for state in states if state["id"] not in late)
    return [type_ for type_, _ in groupby(kept)], len(late)
