"""Hundreds of runs while everything fails: workers are killed, and both APIs answer at random.

Each run has a fate, which is the first word of its name and says what its process will do. What the
server and the cluster have in the end tells whether each run met its fate exactly once. The seed
fixes what is drawn, not how the threads of so many processes meet, so a second run with it is alike
and never the same.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from deployctl.jobs.job_labels import ATTEMPT, METADATA_ANNOTATION, RUN, decode_metadata
from tests.support.cluster.api import KubeApi
from tests.support.cluster.busy import BusyKubelet
from tests.support.cluster.proxy import error
from tests.support.proxy import Proxy, hang_up
from tests.support.waiting import until
from tests.support.worker_harness import WorkerHarness, WorkerProcess, without_hand_backs

FATES = {"completes": 80, "crashes": 8, "again": 6, "cancelled": 6}
"""What becomes of runs, and how many of a hundred: `again` is scheduled once more by its process,
`cancelled` is cancelled by a person and does not hear of it."""
ONCE = ["SCHEDULED", "PENDING", "RUNNING"]
HISTORY = {
    "completes": [*ONCE, "COMPLETED"],
    "crashes": [*ONCE, "CRASHED"],
    "again": [*ONCE, *ONCE, "COMPLETED"],
    "cancelled": [*ONCE, "CANCELLING", "CANCELLED"],
}
"""The types of a run's states: nothing else is right."""
SERVICES = ("LATE_RUNS", "EVENT_PERSISTER", "TRIGGERS", "TASK_RUN_RECORDER", "FOREMAN")
QUIET = {f"PREFECT_API_SERVICES_{name}_ENABLED": "false" for name in SERVICES}
"""Settings of a server that has nothing of its own to write."""
NAME = "prefect.io/flow-run-name"
LIFE = 1.5
"""Seconds that a flow takes at most."""
JOB_KEPT = 5
"""Seconds for which the cluster keeps a Job that is over."""


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    runs: int
    seed: int
    limit: int = 8
    """`--limit` of each replica."""
    calm: tuple[float, float] = (0.05, 0.4)
    """Seconds from one fault to the next, at least and at most."""
    life: tuple[float, float] = (4.0, 16.0)
    """Seconds from one kill to the next."""
    patience: float = 900.0
    """Seconds that it may take."""

    def draw(self, who: str) -> random.Random:
        """Chance, for one of those who need it."""
        return random.Random(f"{who} {self.seed}")


@dataclass
class Figures:
    """What happened, and what should not have."""

    plan: Plan
    major: int
    seconds: float = 0.0
    kills: int = 0
    starts: int = 0
    """Pods in which a process began."""
    attempts: int = 0
    handed_back: int = 0
    """Claims that came after a run's end, which servers accept, and that were taken back."""
    jobs: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    """The most Jobs that were alive at once, by the name of the worker that made them."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """All that should not have been."""
        over = [
            f"worker {name} had {most} Jobs at once, with a limit of {self.plan.limit}"
            for name, most in sorted(self.most.items())
            if most > self.plan.limit
        ]
        return self.lost + self.doubled + over

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {n}" for kind, n in sorted(self.faults.items()))
        most = ", ".join(f"{name} {n}" for name, n in sorted(self.most.items()))
        return "\n".join(
            [
                f"Prefect {self.major}.x, seed {self.plan.seed}, {self.seconds:.0f} s:",
                f"  {self.plan.runs} runs, {self.attempts} attempts, {self.jobs} Jobs, "
                f"{self.starts} processes begun",
                f"  {self.handed_back} runs claimed after their end, and handed back",
                f"  {self.kills} workers killed; {self.faults.total()} faults: {faults}",
                f"  most Jobs at once, of {self.plan.limit} allowed: {most}",
                f"  lost {len(self.lost)}, doubled {len(self.doubled)}",
                *(f"  {line}" for line in self.wrong),
            ]
        )


class Ledger:
    """All Jobs that there ever were, and how many were alive at once, from a watch of its own.

    A Job is alive until the cluster says that it is over or the kubelet is about to end its pod,
    whatever comes first: a worker cannot hear of either before.
    """

    def __init__(self, kube: KubeApi, namespace: str) -> None:
        self.uids: dict[str, set[str]] = {}
        """Jobs by attempt."""
        self.runs: dict[str, str] = {}
        self.most: Counter[str] = Counter()
        self._alive: dict[str, str] = {}
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._version = kube.request("GET", self._path)["metadata"]["resourceVersion"]
        self._connection = kube.connect(timeout=None)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Ledger:
        self._connection.request("GET", f"{self._path}?watch=1&resourceVersion={self._version}")
        self._answer = self._connection.getresponse()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        hang_up(self._connection.sock)
        self._thread.join()
        self._answer.close()
        self._connection.close()

    def ends(self, attempt: str) -> None:
        """The pod of this attempt is about to be ended."""
        with self._lock:
            self._alive.pop(attempt, None)

    def _follow(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            for line in self._answer:
                event = json.loads(line)
                with self._lock:
                    self._take(event["type"], event["object"])

    def _take(self, kind: str, job: Any) -> None:
        meta = job["metadata"]
        attempt = meta["labels"][ATTEMPT]
        if kind == "ADDED":
            self.uids.setdefault(attempt, set()).add(meta["uid"])
            self.runs[attempt] = meta["labels"][RUN]
            worker, _ = decode_metadata(meta["annotations"][METADATA_ANNOTATION])
            self._alive[attempt] = worker
            alive = sum(other == worker for other in self._alive.values())
            self.most[worker] = max(self.most[worker], alive)
        elif kind == "DELETED" or job["status"].get("conditions"):
            self._alive.pop(attempt, None)


class Flows:
    """The processes of all pods: each begins once and does what its run's fate is."""

    def __init__(self, bench: WorkerHarness, ledger: Ledger, draw: random.Random) -> None:
        self._bench, self._ledger, self._draw = bench, ledger, draw
        self._ends: dict[str, tuple[float, int | None]] = {}
        self.begun: Counter[str] = Counter()
        """How often a process began, by run."""
        self.attempts: Counter[str] = Counter()
        """The same by attempt."""
        self.writing = threading.Lock()
        """SQLite takes one writer at a time; there are enough of them in the workers."""

    def __call__(self, pod: Any) -> int | None:
        """What a `BusyKubelet` asks of each pod that runs."""
        uid, labels = pod["metadata"]["uid"], pod["metadata"]["labels"]
        if uid not in self._ends:
            self._ends[uid] = (time.monotonic() + self._draw.uniform(0, LIFE), self._begin(labels))
        when, code = self._ends[uid]
        if code is None or time.monotonic() < when:
            return None
        self._finish(labels)
        self._ledger.ends(labels[ATTEMPT])
        return code

    def _begin(self, labels: Any) -> int | None:
        """Begins; gives the exit code, None for a process that goes on until it is killed."""
        run, fate = labels[RUN], _fate(labels[NAME])
        self.begun[run] += 1
        self.attempts[labels[ATTEMPT]] += 1
        self._report(run, "RUNNING")
        if fate == "cancelled":
            self._report(run, "CANCELLING")
            return None
        return 1 if fate == "crashes" else 0

    def _finish(self, labels: Any) -> None:
        run, fate = labels[RUN], _fate(labels[NAME])
        if fate == "again" and self.begun[run] == 1:
            self._report(run, "SCHEDULED")
        elif fate != "crashes":
            self._report(run, "COMPLETED")

    def _report(self, run: str, type_: str) -> None:
        with self.writing:
            self._bench.report(run, type_)


def _fate(name: str) -> str:
    return name.partition("-")[0]


class Weather:
    """Faults on both sides, one after the other, for the length of a block."""

    def __init__(self, bench: WorkerHarness, plan: Plan, draw: random.Random) -> None:
        self._kube, self._draw, self._plan = bench.kube_proxy, draw, plan
        self._due: dict[Proxy, int] = {bench.proxy: 0, bench.kube_proxy: 0}
        """After how many requests the next fault of a side is due, so that a few always pass."""
        self.seen: Counter[str] = Counter()

    def strike(self) -> None:
        """The next fault meets whatever request comes next, or all watches that are open."""
        draw = self._draw
        side = draw.choice(list(self._due))
        watches = {"cut": self._kube.cut, "frozen": self._kube.freeze, "expired": self._expire}
        requests: dict[str, Callable[[], object]] = {
            "500": lambda: side.answer(500),
            "503": lambda: side.answer(503),
            "429": lambda: side.answer(429, headers={"Retry-After": "1"}),
            "lost": side.drop_answer,
            "lost, 502": lambda: side.drop_answer(502),
            "refused": side.refuse,
            "late": lambda: side.delay(draw.uniform(0.2, 1.5)),
        }
        if side is self._kube and draw.random() < 0.3:
            kind = draw.choice(list(watches))
            if watches[kind]():
                self.seen[f"watch {kind}"] += 1
        elif not side.pending and len(side.exchanges) >= self._due[side]:
            self._due[side] = len(side.exchanges) + draw.randrange(1, 12)
            kind = draw.choice(list(requests))
            requests[kind]()
            self.seen[kind] += 1

    def pause(self) -> float:
        """Seconds until the next."""
        return self._draw.uniform(*self._plan.calm)

    def _expire(self) -> int:
        code, reason = self._draw.choice([(410, "Expired"), (500, "InternalError")])
        return self._kube.say(error(code, reason))


class Crew:
    """One worker that is there nearly always, and a second for half of the time."""

    def __init__(self, bench: WorkerHarness, plan: Plan, draw: random.Random) -> None:
        self._bench, self._plan, self._draw = bench, plan, draw
        self._workers: dict[str, WorkerProcess] = {}
        self.kills = 0

    def __enter__(self) -> Crew:
        self._start("one")
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers.values():
            worker.kill()

    def change(self) -> None:
        """Kills a worker, and starts it again or the other; the first is never down for long."""
        name = self._draw.choice(["one", "two"])
        if worker := self._workers.pop(name, None):
            worker.kill()
            self.kills += 1
            time.sleep(self._draw.uniform(0, 1))
        if name == "one" or worker is None:
            self._start(name)

    def pause(self) -> float:
        """Seconds until the next change."""
        return self._draw.uniform(*self._plan.life)

    def _start(self, name: str) -> None:
        options = ("--name", name, "--limit", str(self._plan.limit))
        self._workers[name] = self._bench.worker(*options).__enter__()


def soak(bench: WorkerHarness, plan: Plan) -> Figures:
    """Runs it all; raises AssertionError when runs are not over in time."""
    figures = Figures(plan, bench.major)
    begin = time.monotonic()
    with Ledger(bench.kube, bench.namespace) as ledger:
        flows = Flows(bench, ledger, plan.draw("flows"))
        weather = Weather(bench, plan, plan.draw("weather"))
        with (
            BusyKubelet(bench.kube, bench.namespace, flows),
            Crew(bench, plan, plan.draw("crew")) as crew,
            _again_and_again(weather.strike, weather.pause),
            _again_and_again(crew.change, crew.pause),
        ):
            deployment = bench.deployment("soak", job_variables={"finished_job_ttl": JOB_KEPT})
            chances = list(FATES.values())
            fates = plan.draw("fates").choices(list(FATES), chances, k=plan.runs)
            runs = {}
            for number, fate in enumerate(fates):
                with flows.writing:
                    runs[bench.run(deployment, name=f"{fate}-{number}")] = fate
            _await_ends(bench, deployment, plan.patience)
        figures.seconds = time.monotonic() - begin
        figures.kills, figures.faults = crew.kills, weather.seen
    figures.jobs = sum(len(uids) for uids in ledger.uids.values())
    figures.starts = flows.begun.total()
    figures.most = dict(ledger.most)
    _judge(bench, figures, runs, flows, ledger)
    return figures


def _await_ends(bench: WorkerHarness, deployment: str, patience: float) -> None:
    """Waits until no run is on its way any more."""
    types = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"]
    wanted = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": types}}}

    def over() -> bool:
        time.sleep(0.5)
        return not bench.api.call("POST", "/flow_runs/count", {"flow_runs": wanted})

    def open_runs() -> str:
        found = bench.api.call("POST", "/flow_runs/filter", {"flow_runs": wanted, "limit": 5})
        lines = [f"{run['name']} {run['id']}: {bench.types(run['id'])}" for run in found]
        return "\n".join([*lines, bench.workers_said()])

    until(over, open_runs, patience)


def _judge(
    bench: WorkerHarness, figures: Figures, runs: dict[str, str], flows: Flows, ledger: Ledger
) -> None:
    """Compares what became of each run with its fate."""
    jobs: Counter[str] = Counter()
    for attempt, uids in ledger.uids.items():
        jobs[ledger.runs[attempt]] += len(uids)
    for run, fate in runs.items():
        states = bench.states(run)
        history, back = without_hand_backs(states)
        claims = sum(state["name"] == "Pending" for state in states) - back
        figures.attempts += claims
        figures.handed_back += back
        wanted = HISTORY[fate]
        told = f"{fate} {run}: {jobs[run]} Jobs, {flows.begun[run]} begun, {history}"
        if max(jobs[run], flows.begun[run], claims) > wanted.count("PENDING"):
            figures.doubled.append(told)
        elif history != wanted or flows.begun[run] < wanted.count("RUNNING"):
            figures.lost.append(told)


@contextmanager
def _again_and_again(step: Callable[[], None], pause: Callable[[], float]) -> Iterator[None]:
    """Takes steps with pauses between them, beside the block; a failed one fails the block."""
    stop, failures = threading.Event(), []

    def work() -> None:
        try:
            while not stop.wait(pause()):
                step()
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]
