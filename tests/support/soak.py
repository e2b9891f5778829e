"""Soak test: hundreds of runs while workers are killed and both APIs fail at random.

Each run has a scenario, which is the first word of its name and says what its process does. The
final data of server and cluster show whether each run was executed exactly as its scenario says.
The seed fixes the random choices, not the interleaving of threads and processes, so two soaks with
the same seed are similar and never equal.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deployctl.jobs.job_labels import ATTEMPT, METADATA_ANNOTATION, RUN, decode_metadata
from tests.support.cluster.api import KubeApi
from tests.support.cluster.busy import BusyKubelet
from tests.support.cluster.proxy import error
from tests.support.fast_timings import fast_timings
from tests.support.proxy import Proxy, hang_up
from tests.support.soak_figures import Figures, Plan
from tests.support.waiting import until
from tests.support.worker_harness import (
    QUICK,
    WorkerHarness,
    WorkerProcess,
    without_hand_backs,
)

SCENARIOS = {"completes": 80, "crashes": 8, "again": 6, "cancelled": 6}
"""Scenario → percentage of runs. `again`: its process reschedules it once; `cancelled`: a user
cancels it and its process ignores that."""
ONCE = ["SCHEDULED", "PENDING", "RUNNING"]
HISTORY = {
    "completes": [*ONCE, "COMPLETED"],
    "crashes": [*ONCE, "CRASHED"],
    "again": [*ONCE, *ONCE, "COMPLETED"],
    "cancelled": [*ONCE, "CANCELLING", "CANCELLED"],
}
"""Scenario → expected types of the run's states."""
SERVICES = ("LATE_RUNS", "EVENT_PERSISTER", "TRIGGERS", "TASK_RUN_RECORDER", "FOREMAN")
QUIET = {f"PREFECT_API_SERVICES_{name}_ENABLED": "false" for name in SERVICES}
"""Settings of a server without background services that write."""
NAME = "prefect.io/flow-run-name"
JOB_TTL = 5
"""Seconds for which the cluster keeps a finished Job."""


class Ledger:
    """All Jobs that ever existed, and the largest number of live ones, from its own watch.

    A Job is live until the cluster reports its end or the kubelet is about to end its pod,
    whichever comes first: a worker cannot notice either earlier.
    """

    def __init__(self, kube: KubeApi, namespace: str) -> None:
        self.uids: dict[str, set[str]] = {}
        """Jobs by attempt."""
        self.runs: dict[str, str] = {}
        self.most: Counter[str] = Counter()
        self.most_alive = 0
        self._alive: dict[str, str] = {}
        self._ended: set[str] = set()
        """Attempts whose pods were about to end, perhaps before their Jobs were seen here."""
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._version = kube.request("GET", self._path)["metadata"]["resourceVersion"]
        self._connection = kube.connect(timeout=None)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Ledger:
        self._connection.request("GET", f"{self._path}?watch=1&resourceVersion={self._version}")
        self._response = self._connection.getresponse()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        hang_up(self._connection.sock)
        self._thread.join()
        self._response.close()
        self._connection.close()

    def mark_ended(self, attempt: str) -> None:
        """Record that the pod of this attempt is about to end."""
        with self._lock:
            self._ended.add(attempt)
            self._alive.pop(attempt, None)

    def _watch(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            for line in self._response:
                event = json.loads(line)
                with self._lock:
                    self._apply(event["type"], event["object"])

    def _apply(self, kind: str, job: Any) -> None:
        meta = job["metadata"]
        attempt = meta["labels"][ATTEMPT]
        if kind == "ADDED":
            self.uids.setdefault(attempt, set()).add(meta["uid"])
            self.runs[attempt] = meta["labels"][RUN]
            worker, _ = decode_metadata(meta["annotations"][METADATA_ANNOTATION])
            if attempt not in self._ended:
                self._alive[attempt] = worker
            alive = sum(other == worker for other in self._alive.values())
            self.most[worker] = max(self.most[worker], alive)
            self.most_alive = max(self.most_alive, len(self._alive))
        elif kind == "DELETED" or job["status"].get("conditions"):
            self._alive.pop(attempt, None)


class Flows:
    """The processes of all pods: each starts once and acts by its run's scenario."""

    def __init__(self, harness: WorkerHarness, ledger: Ledger, plan: Plan) -> None:
        self._bench, self._ledger, self._rng = harness, ledger, plan.rng("flows")
        self._longest = plan.flow_seconds
        self._ends: dict[str, tuple[float, int | None]] = {}
        self.started: Counter[str] = Counter()
        """How often a process started, by run."""
        self.attempts: Counter[str] = Counter()
        """How often a process started, by attempt."""
        self.writing = threading.Lock()
        """SQLite takes one writer at a time, and the workers write, too."""

    def __call__(self, pod: Any) -> int | None:
        """Return the exit code of a running pod, None while it runs; called by `BusyKubelet`."""
        uid, labels = pod["metadata"]["uid"], pod["metadata"]["labels"]
        if uid not in self._ends:
            self._ends[uid] = (
                time.monotonic() + self._rng.uniform(0, self._longest),
                self._start(labels),
            )
        when, code = self._ends[uid]
        if code is None or time.monotonic() < when:
            return None
        self._finish(labels)
        self._ledger.mark_ended(labels[ATTEMPT])
        return code

    def _start(self, labels: Any) -> int | None:
        """Start a process; returns its exit code, None if it runs until it is killed."""
        run, scenario = labels[RUN], _scenario(labels[NAME])
        self.started[run] += 1
        self.attempts[labels[ATTEMPT]] += 1
        self._report(run, "RUNNING")
        if scenario == "cancelled":
            self._report(run, "CANCELLING")
            return None
        return 1 if scenario == "crashes" else 0

    def _finish(self, labels: Any) -> None:
        run, scenario = labels[RUN], _scenario(labels[NAME])
        if scenario == "again" and self.started[run] == 1:
            self._report(run, "SCHEDULED")
        elif scenario != "crashes":
            self._report(run, "COMPLETED")

    def _report(self, run: str, type_: str) -> None:
        with self.writing:
            self._bench.report(run, type_)


def _scenario(name: str) -> str:
    return name.partition("-")[0]


class FaultSchedule:
    """Injects faults into both APIs, one after the other."""

    def __init__(self, harness: WorkerHarness, plan: Plan, rng: random.Random) -> None:
        self._kube, self._rng, self._plan = harness.kube_proxy, rng, plan
        self._due: dict[Proxy, int] = {harness.proxy: 0, harness.kube_proxy: 0}
        """After how many requests of a side its next fault is due, so that some always pass."""
        self.seen: Counter[str] = Counter()

    def inject(self) -> None:
        """Inject a fault into the next request of one side, or into all open watches."""
        rng = self._rng
        side = rng.choice(list(self._due))
        watches = {"cut": self._kube.cut, "frozen": self._kube.freeze, "expired": self._expire}
        requests: dict[str, Callable[[], object]] = {
            "500": lambda: side.answer(500),
            "503": lambda: side.answer(503),
            "429": lambda: side.answer(429, headers={"Retry-After": "1"}),
            "lost": side.drop_answer,
            "lost, 502": lambda: side.drop_answer(502),
            "refused": side.refuse,
            "late": lambda: side.delay(rng.uniform(0.2, 1.5)),
        }
        if side is self._kube and rng.random() < 0.3:
            kind = rng.choice(list(watches))
            if watches[kind]():
                self.seen[f"watch {kind}"] += 1
        elif not side.pending and len(side.exchanges) >= self._due[side]:
            self._due[side] = len(side.exchanges) + rng.randrange(1, 12)
            kind = rng.choice(list(requests))
            requests[kind]()
            self.seen[kind] += 1

    def pause(self) -> float:
        """Return the seconds until the next fault."""
        return self._rng.uniform(*self._plan.fault_interval)

    def _expire(self) -> int:
        code, reason = self._rng.choice([(410, "Expired"), (500, "InternalError")])
        return self._kube.say(error(code, reason))


class WorkerFleet:
    """Replicas of a worker: the first runs nearly all the time, each other half of the time."""

    def __init__(self, harness: WorkerHarness, plan: Plan, rng: random.Random) -> None:
        self._bench, self._plan, self._rng = harness, plan, rng
        self._workers: dict[int, WorkerProcess] = {}
        factor = max(1.0, plan.replicas / 2)
        self._intervals: dict[str, Any] = {n: str(factor * float(v)) for n, v in QUICK.items()}
        """So that ten replicas do not send more requests without runs than two."""
        self.kills = 0
        self.memory = 0.0
        """Largest memory of any of them so far, in megabytes."""

    def __enter__(self) -> WorkerFleet:
        self._start(0)
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            self._kill(worker)

    def replace_one(self) -> None:
        """Kill a worker and restart it or the other one; the first is never down for long."""
        number = self._rng.randrange(self._plan.replicas)
        if worker := self._workers.pop(number, None):
            self._kill(worker)
            self.kills += 1
            time.sleep(self._rng.uniform(0, 1))
        if number == 0 or worker is None:
            self._start(number)

    def pause(self) -> float:
        """Return the seconds until the next kill."""
        return self._rng.uniform(*self._plan.kill_interval)

    def _kill(self, worker: WorkerProcess) -> None:
        with suppress(OSError):  # it has ended by itself
            status = Path(f"/proc/{worker.process.pid}/status").read_text()
            if found := re.search(r"VmHWM:\s+(\d+) kB", status):
                self.memory = max(self.memory, int(found[1]) / 1024)
        worker.kill()

    def _start(self, number: int) -> None:
        options = ("--name", f"worker-{number + 1}", "--limit", str(self._plan.limit))
        timings = fast_timings(deletion_grace=30.0)  # no deletion hangs, however late its pod ends
        worker = self._bench.worker(*options, timings=timings, **self._intervals)
        self._workers[number] = worker.__enter__()


def soak(harness: WorkerHarness, plan: Plan) -> Figures:
    """Run the soak; raises AssertionError if runs do not end in time."""
    figures = Figures(plan, harness.major)
    begin = time.monotonic()
    with Ledger(harness.kube, harness.namespace) as ledger:
        flows = Flows(harness, ledger, plan)
        faults = FaultSchedule(harness, plan, plan.rng("faults"))
        with (
            BusyKubelet(harness.kube, harness.namespace, flows),
            WorkerFleet(harness, plan, plan.rng("workers")) as fleet,
            _repeated(faults.inject, faults.pause),
            _repeated(fleet.replace_one, fleet.pause),
        ):
            deployment = harness.deployment("soak", job_variables={"finished_job_ttl": JOB_TTL})
            weights = list(SCENARIOS.values())
            scenarios = plan.rng("scenarios").choices(list(SCENARIOS), weights, k=plan.runs)
            runs = {}
            for number, scenario in enumerate(scenarios):
                with flows.writing:
                    runs[harness.run(deployment, name=f"{scenario}-{number}")] = scenario
            _await_ends(harness, deployment, plan.timeout)
        figures.seconds = time.monotonic() - begin
        figures.kills, figures.faults = fleet.kills, faults.seen
        figures.memory, figures.requests = fleet.memory, len(harness.proxy.exchanges)
    figures.jobs = sum(len(uids) for uids in ledger.uids.values())
    figures.starts = flows.started.total()
    figures.most, figures.most_alive = dict(ledger.most), ledger.most_alive
    _compare(harness, figures, runs, flows, ledger)
    return figures


def _await_ends(harness: WorkerHarness, deployment: str, timeout: float) -> None:
    """Wait until all runs have ended."""
    types = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]
    unfinished = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": types}}}

    def over() -> bool:
        time.sleep(0.5)
        return not harness.api.call("POST", "/flow_runs/count", {"flow_runs": unfinished})

    def open_runs() -> str:
        found = harness.api.call("POST", "/flow_runs/filter", {"flow_runs": unfinished, "limit": 5})
        lines = [f"{run['name']} {run['id']}: {harness.types(run['id'])}" for run in found]
        return "\n".join([*lines, harness.worker_output()])

    until(over, open_runs, timeout)


def _compare(
    harness: WorkerHarness, figures: Figures, runs: dict[str, str], flows: Flows, ledger: Ledger
) -> None:
    """Compare the history of each run with its scenario."""
    jobs: Counter[str] = Counter()
    for attempt, uids in ledger.uids.items():
        jobs[ledger.runs[attempt]] += len(uids)
    for run, scenario in runs.items():
        states = harness.states(run)
        history, back = without_hand_backs(states)
        claims = sum(state["name"] == "Pending" for state in states) - back
        figures.attempts += claims
        figures.handed_back += back
        expected = HISTORY[scenario]
        line = f"{scenario} {run}: {jobs[run]} Jobs, {flows.started[run]} started, {history}"
        if max(jobs[run], flows.started[run], claims) > expected.count("PENDING"):
            figures.duplicated.append(line)
        elif history != expected or flows.started[run] < expected.count("RUNNING"):
            figures.lost.append(line)


@contextmanager
def _repeated(step: Callable[[], None], pause: Callable[[], float]) -> Iterator[None]:
    """Repeat a step in a thread while the block runs; a failed step fails the block."""
    stop, failures = threading.Event(), []

    def repeat() -> None:
        try:
            while not stop.wait(pause()):
                step()
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
