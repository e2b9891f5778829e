"""CPU time that a Prefect server needs for each request of a worker, and for a run's own process.

    python -m benchmarks.requests --server postgres

The CPU time of the server bounds the requests that it answers per second, and depends less than
the response time on what else the machine does. It includes what the server does after its answer,
such as storing events. One process serves all requests, so 10 ms are 100 requests per second; the
CPU time of PostgreSQL is beside it. `scripts/simulate.py` takes its service times from here.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.worker import cpu_seconds
from tests.support.api import Api
from tests.support.databases import Postgres
from tests.support.environment import isolated
from tests.support.servers import PREFECT_3, Server, running

ROWS = 200
"""Flow runs of a full page."""
FLOWS = 5
_FLOW = "from prefect import flow\n\n\n@flow\ndef main() -> None:\n    print('done')\n"


@dataclass(frozen=True)
class Cost:
    """CPU time of one kind of request, in milliseconds."""

    kind: str
    server: float
    database: float

    def __str__(self) -> str:
        return f"{self.kind:<32}{self.server:>8.1f} ms{self.database:>10.1f} ms"


class RequestBenchmark:
    """A server with one pool, and the requests that a worker of the pool sends."""

    def __init__(self, server: Server, api: Api, folder: Path) -> None:
        self._server, self._api, self._folder = server, api, folder
        pool = {"name": "pool", "type": "kubernetes", "base_job_template": {}}
        self._pool = self._call("POST", "work_pools/", pool)["id"]
        (folder / "flows.py").write_text(_FLOW)
        flow = self._call("POST", "flows/", {"name": "main"})["id"]
        body = {"name": "main", "flow_id": flow, "work_pool_name": "pool"}
        body |= {"entrypoint": "flows.py:main", "path": str(folder)}
        self._deployment = self._call("POST", "deployments/", body)["id"]

    def costs(self) -> Iterator[Cost]:
        """Measure one kind of request after the other."""
        yield self._cost("poll, nothing due", self._poll, 40)
        yield self._cost("heartbeat", self._heartbeat, 40)
        runs = [self._create_run() for _ in range(ROWS)]
        yield self._cost(f"poll, {ROWS} runs due", self._poll, 10)
        yield self._each("claim", runs, lambda run: self._propose(run, "PENDING"))
        yield self._each("claim that comes late", runs, lambda run: self._propose(run, "PENDING"))
        yield self._each("read a run", runs, lambda run: self._call("GET", f"flow_runs/{run}"))
        states = "flow_run_states/?flow_run_id="
        yield self._each("read its states", runs, lambda run: self._call("GET", states + run))
        pid = {"infrastructure_pid": "cluster:namespace:job"}
        yield self._each("location", runs, lambda run: self._patch(f"flow_runs/{run}", pid))
        labels = {"prefect.worker.name": "worker", "prefect.work-pool.name": "pool"}
        yield self._each("labels", runs, lambda run: self._patch(f"flow_runs/{run}/labels", labels))
        deployment = f"deployments/{self._deployment}"
        yield self._cost("read a deployment", lambda: self._call("GET", deployment), 40)
        yield self._cost(f"page of {ROWS} active runs", self._page, 10)
        yield self._cost("20 log lines", lambda: self._log(runs[0]), 20)
        yield self._cost("20 events", lambda: self._event(runs[0]), 20)
        yield self._each("running", runs, lambda run: self._propose(run, "RUNNING"))
        yield self._each("completed", runs, lambda run: self._propose(run, "COMPLETED"))
        flows = [self._create_run() for _ in range(FLOWS)]
        yield self._each("a flow without tasks, in all", flows, self._execute)

    def _each(self, kind: str, runs: list[str], send: Callable[[str], object]) -> Cost:
        remaining = iter(runs)
        return self._cost(kind, lambda: send(next(remaining)), len(runs))

    def _cost(self, kind: str, send: Callable[[], object], times: int) -> Cost:
        """Measure the mean of some requests, without what the idle server needs meanwhile."""
        self._await_idle()
        server, database = self._used()
        for _ in range(times):
            send()
        self._await_idle()
        after = self._used()
        return Cost(kind, (after[0] - server) * 1e3 / times, (after[1] - database) * 1e3 / times)

    def _await_idle(self) -> None:
        """Wait until the server has finished the work that follows its answers."""
        before = -1.0
        while (now := self._used()[0]) - before > 0.05:
            before = now
            time.sleep(1)

    def _used(self) -> tuple[float, float]:
        """Return the CPU seconds of the server and of its database so far."""
        database = self._server.database
        backends = 0.0
        if isinstance(database, Postgres):
            pids = [database.pid, *_children(database.pid)]
            backends = sum(cpu_seconds(pid, ended=pid == database.pid) for pid in pids)
        return cpu_seconds(self._server.pid), backends

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._api.call(method, f"/{path}", body)

    def _create_run(self) -> str:
        body = {"state": {"type": "SCHEDULED", "name": "Scheduled"}}
        run = self._call("POST", f"deployments/{self._deployment}/create_flow_run", body)
        return str(run["id"])

    def _poll(self) -> None:
        body = {"work_queue_names": [], "scheduled_before": datetime.now(UTC).isoformat()}
        self._call("POST", "work_pools/pool/get_scheduled_flow_runs", body)

    def _heartbeat(self) -> None:
        body = {"name": "worker", "heartbeat_interval_seconds": 30}
        self._call("POST", "work_pools/pool/workers/heartbeat", body)
        self._call("GET", "work_pools/pool")

    def _propose(self, run: str, kind: str) -> None:
        details = {"transition_id": str(uuid.uuid4())}
        state = {"type": kind, "name": kind.title(), "state_details": details}
        self._call("POST", f"flow_runs/{run}/set_state", {"state": state})

    def _patch(self, path: str, body: Any) -> None:
        self._call("PATCH", path, body)

    def _page(self) -> None:
        body = {
            "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}},
            "work_pools": {"id": {"any_": [self._pool]}},
            "limit": ROWS,
            "sort": "ID_DESC",
        }
        self._call("POST", "flow_runs/filter", body)

    def _log(self, run: str) -> None:
        line = {"name": "prefect.flow_runs.worker", "level": 20, "message": "x" * 60}
        line |= {"timestamp": datetime.now(UTC).isoformat(), "flow_run_id": run}
        self._call("POST", "logs/", [line] * 20)

    def _event(self, run: str) -> None:
        resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
        self._call("POST", "events", [self._new_event(resource) for _ in range(20)])

    @staticmethod
    def _new_event(resource: dict[str, str]) -> Any:
        event = {"occurred": datetime.now(UTC).isoformat(), "id": str(uuid.uuid4())}
        return event | {"event": "prefect.worker.executed-flow-run", "resource": resource}

    def _execute(self, run: str) -> None:
        env = isolated(self._folder / "home", PREFECT_API_URL=self._server.api_url)
        program = str(self._server.python.with_name("prefect"))
        ended = subprocess.run(
            [program, "flow-run", "execute", run],
            env=env,
            cwd=self._folder,
            capture_output=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(ended.stdout.decode() + ended.stderr.decode())


def _children(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in found.split()]


def main() -> None:
    """Print the cost of each kind of request."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", choices=["sqlite", "postgres"], action="append")
    for database in parser.parse_args().server or ["sqlite", "postgres"]:
        print(f"{f'Prefect {PREFECT_3}, {database}':<32}{'server':>11}{'database':>13}")
        with (
            tempfile.TemporaryDirectory() as folder,
            running(PREFECT_3, scheduler=False, tuned=False, database=database) as server,
            Api(server.api_url) as api,
        ):
            for cost in RequestBenchmark(server, api, Path(folder)).costs():
                print(cost, flush=True)


if __name__ == "__main__":
    main()
