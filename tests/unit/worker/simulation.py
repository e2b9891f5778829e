"""A server, a cluster, workers, users and faults in one thread.

Everything that can happen is a method, so that a test can put events into any order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from deployctl.api.calls import Request
from deployctl.api.states import FINAL
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.jobs.model import Limits
from deployctl.worker.health.health_state import HealthMonitor
from deployctl.worker.health.metrics import Metrics
from deployctl.worker.model import NO_LIMITS, Cause, Job, Phase
from deployctl.worker.server.claim_marker import ClaimMarker, parse_marker, with_marker
from tests.unit.worker.fault_injection import Crash, Event, Injection
from tests.unit.worker.simulated_cluster import OWNER, SimulatedCluster
from tests.unit.worker.simulated_server import Clock, Missing, Proposed, SimulatedServer, evaluate
from tests.unit.worker.simulated_worker import SimulatedWorker

T = TypeVar("T")
NO_IMAGE = Cause("ImagePull", "the image is not there", stuck=True)
OTHER_OWNER = "other-owner"


class Simulation:
    """All parts, and the invariants that must hold among them.

    `polite`: users reschedule a run only while no worker is about to act on it. The server has no
    conditional updates, so between a worker's read and its write there is always a moment in which
    another client can write; no worker can prevent that.
    """

    def __init__(
        self,
        major: int,
        runs: int,
        workers: int,
        *,
        polite: bool,
        retries: int = 0,
        limits: Limits = NO_LIMITS,
        limit: int | None = None,
    ) -> None:
        """`retries`: of each flow, in its process; `limits`: of each Job; `limit`: of Jobs of each
        worker."""
        self.polite = polite
        self.limits = limits
        self.limit = limit
        self.clock = Clock()
        self.server = SimulatedServer(self.clock, major, retries)
        self.cluster = SimulatedCluster(self.clock, limit)
        self.metrics = Metrics(HealthMonitor())
        self.runs = [self.server.add_run() for _ in range(runs)]
        self.violations: list[str] = []
        self.ignores_final_state = False
        """Whether processes propose AwaitingRetry on SIGTERM although their run has ended."""
        self._started: dict[str, tuple[str, int]] = {}
        """Run → the attempt that started it last, and how many states the run had then."""
        self._terminated: set[str] = set()
        """States after a process got SIGTERM because a worker deleted its Job: the worker may have
        done that to end the run, and it reports that end although the run is scheduled again."""
        self._processes = 0
        self.workers = [
            self._new_worker(number, is_leader=number == 0) for number in range(workers)
        ]

    def do(self, event: Event) -> None:
        """Let an event happen."""
        method, *arguments = event
        getattr(self, method)(*arguments)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    # Workers

    def worker(self, number: int, step: str, injections: Sequence[Injection]) -> None:
        """Let a worker take a step, with these injections into its requests in turn."""
        worker = self._pick(self.workers, number)
        before, worker.injector.injections = worker.injector.injections, list(injections)
        try:
            getattr(worker, step)()
        except Crash:
            self.restart(number)
        except DeployctlError:
            pass
        finally:
            worker.injector.injections = before

    def run_workers(self) -> None:
        """Let every worker do everything that there is to do."""
        for number in range(len(self.workers)):
            self.worker(number, "run_all", ())

    def restart(self, number: int) -> None:
        """Replace a worker by a new process without any state."""
        number %= len(self.workers)
        is_leader = self.workers[number].leadership.is_leader
        self.workers[number] = self._new_worker(number, is_leader=is_leader)

    def elect(self, number: int) -> None:
        """Make another worker the leader."""
        for index, worker in enumerate(self.workers):
            worker.leadership.is_leader = index == number % len(self.workers)

    # Jobs

    def job(self, number: int, event: str) -> None:
        """Let an event happen to a Job, if there is one."""
        if jobs := list(self.cluster.jobs.values()):
            getattr(self, event)(self._pick(jobs, number))

    def begin(self, job: Job) -> None:
        """Start the Job's pod; its flow starts if the server agrees."""
        if job.phase is not Phase.WAITING or job.deleting:
            return
        job = replace(job, phase=Phase.RUNNING, started=True, since=self.clock.now)
        self.cluster.put(job)
        if not self._report(job, "RUNNING"):
            self.exit(job)
            return
        self.cluster.started.add(job.attempt)
        before, length = self._started.get(job.run, (job.attempt, 0))
        states = self.server.states[job.run]
        self.start_pod()
        if before != job.attempt and not any(map(_releases, states[length:])):
            self.violations.append(f"{job.run} was started twice, by {before} and {job.attempt}")
        self._started[job.run] = job.attempt, len(states)

    def start_pod(self) -> None:
        """Let the time pass that the start of a pod takes at least."""
        self.clock.now += 3

    def finish(self, job: Job) -> None:
        """The flow completes and reports that, and the pod exits."""
        if job.phase is Phase.RUNNING:
            self._report(job, "COMPLETED")
            self.exit(job)

    def exit(self, job: Job) -> None:
        """The pod exits with 0 without reporting."""
        if job.phase is Phase.RUNNING:
            self.cluster.put(replace(job, phase=Phase.SUCCEEDED, since=self.clock.now))

    def retry(self, job: Job) -> None:
        """The flow fails; its process sleeps if the server grants a retry, and exits if not."""
        if self._is_at_work(job) and not self._report(job, "FAILED"):
            return
        if self.server.type_of(job.run) == "FAILED":
            self.exit(job)

    def pause(self, job: Job) -> None:
        """The flow pauses, and its process waits."""
        if self._is_at_work(job):
            self._report(job, "PAUSED")

    def suspend(self, job: Job) -> None:
        """The flow suspends itself: its process ends."""
        if self._is_at_work(job) and self._report(job, "PAUSED", suspends=True):
            self.exit(job)

    def wake(self, job: Job) -> None:
        """The process begins the retry that it slept for."""
        if job.phase is Phase.RUNNING and self.server.is_in_process(job.run):
            self._report(job, "RUNNING")

    def terminate(self, job: Job) -> None:
        """The process gets SIGTERM: of an eviction, or of the Job's deletion, which ends with it.

        Prefect 3 proposes AwaitingRetry (SIGTERM_BEHAVIOR=reschedule), unless the run has ended.
        """
        if job.phase is not Phase.RUNNING:
            return
        if self.ignores_final_state or self.server.type_of(job.run) not in FINAL:
            kind = "SCHEDULED" if self.server.major >= 3 else "CRASHED"
            self._report(job, kind, "AwaitingRetry" if kind == "SCHEDULED" else "Crashed")
            if job.deleting and job.run in self.server.rows:
                self._terminated.add(self.server.rows[job.run]["state_id"])
        phase = Phase.SUCCEEDED if self.server.major >= 3 else Phase.FAILED
        self.cluster.put(replace(job, phase=phase, since=self.clock.now))
        if job.deleting:
            self.vanish(job)

    def stall(self, job: Job, cause: Cause = NO_IMAGE) -> None:
        """The Job gets a cause: why it waits for something that does not come, or will fail."""
        if not job.phase.is_over:
            self.cluster.put(replace(job, cause=cause))

    def hang(self, job: Job) -> None:
        """The Job's deletion will never end."""
        self.cluster.hung.add(job.name)

    def fail(self, job: Job) -> None:
        """The pod is lost."""
        if not job.phase.is_over:
            self.cluster.put(replace(job, phase=Phase.FAILED, since=self.clock.now))

    def vanish(self, job: Job) -> None:
        """The Job is gone: its deletion has ended, its TTL has expired, or a user deleted it."""
        if job.name not in self.cluster.hung:
            self.cluster.remove(job.name)

    def _is_at_work(self, job: Job) -> bool:
        return job.phase is Phase.RUNNING and self.server.type_of(job.run) == "RUNNING"

    def _report(self, job: Job, kind: str, name: str = "", *, suspends: bool = False) -> bool:
        proposed = Proposed(kind, name or kind.title(), suspends=suspends)
        try:
            answer = self.server.propose(job.run, proposed)
        except Missing:
            return False
        return bool(answer["status"] == "ACCEPT")

    # Namespaces

    def move(self, namespace: str) -> None:
        """Describe all runs in another namespace from now on."""
        self.cluster.described = namespace

    def refuse(self, namespace: str) -> None:
        """Take all permissions in a namespace away."""
        self.cluster.refused.add(namespace)

    def allow(self) -> None:
        """Grant all permissions again."""
        self.cluster.refused.clear()

    # Users and other workers

    def user(self, number: int, kind: str, name: str) -> None:
        """A user puts a run into a state, as the UI does."""
        run = self._pick(self.runs, number)
        rescheduled = kind == "SCHEDULED" and self.polite
        if run in self.server.rows and not (rescheduled and not self._is_quiet(run)):
            message = "Retry from the UI" if kind == "SCHEDULED" else ""
            self.server.propose(run, Proposed(kind, name), message)

    def resume(self, number: int) -> None:
        """A user resumes a run that is paused or suspended."""
        run = self._pick(self.runs, number)
        if self.server.type_of(run) == "PAUSED":
            goes_on = self.server.is_in_process(run)
            kind, name = ("RUNNING", "Running") if goes_on else ("SCHEDULED", "Resuming")
            self.server.propose(run, Proposed(kind, name))

    def foreign_worker(self, number: int) -> None:
        """A worker of another owner claims a run, if it can, and then works on it.

        One is a deployctl in another cluster, the other one is Prefect's, which leaves no marker.
        """
        run = self._pick(self.runs, number)
        kind = self.server.type_of(run)
        if kind == "SCHEDULED":
            message = with_marker("Claimed.", ClaimMarker(OTHER_OWNER)) if number else ""
            self.server.propose(run, Proposed("PENDING", "Pending"), message)
        elif kind in ("PENDING", "RUNNING") and not self.attempt_of(run):
            name = self.server.rows[run]["state_name"]
            after = {"Pending": "PENDING", "Submitting": "RUNNING", "Running": "COMPLETED"}[name]
            named = "Submitting" if name == "Pending" else after.title()
            self.server.propose(run, Proposed(after, named))

    def rename(self, number: int) -> None:
        """A user renames a run."""
        run = self._pick(self.runs, number)
        if run in self.server.rows:
            self.server.rows[run]["name"] += "x"

    def delete(self, number: int) -> None:
        """A user deletes a run."""
        self.server.delete(self._pick(self.runs, number))

    def _is_quiet(self, run: str) -> bool:
        """Whether no worker is about to act on the run, and all know its Jobs."""
        return all(
            worker.is_up_to_date
            and run not in worker.store.in_flight
            and run not in worker.store.claims.runs.values()
            for worker in self.workers
        )

    # Invariants

    def check_request(self, request: Request) -> None:
        """Check a request of a worker before it reaches the server."""
        found = re.fullmatch("/flow_runs/(.+)/set_state", request.path)
        if found is None or found[1] not in self.server.rows:
            return
        run, state = found[1], request.body["state"]
        before = self.server.rows[run]
        proposed = Proposed(state["type"], state["name"], state["state_details"]["transition_id"])
        proposed = proposed._replace(force=request.body["force"])
        pid = before["infrastructure_pid"] or ""
        if evaluate(before["state"], pid, proposed, self.server.major)[0] != "ACCEPT":
            return
        if state["name"] == "Pending":
            if before["state_type"] in FINAL:
                self.violations.append(f"{run} was claimed when it was {before['state_type']}")
            return
        attempt = self.attempt_of(run)
        if self.polite and not attempt and before["state_id"] not in self._terminated:
            self.violations.append(f"{run} is not ours and became {state['type']}")
        elif state["type"] == "CRASHED" and attempt:
            self._check_crashed(run, attempt, state["message"])

    def _check_crashed(self, run: str, attempt: str, message: str) -> None:
        jobs = self.cluster.jobs_of(attempt)
        if any(job.phase is Phase.RUNNING and not job.deleting for job in jobs):
            self.violations.append(f"{run} is running and was reported as crashed: {message}")
        expected = any(text in message for text in ("cannot be started", "could not be created"))
        if attempt not in self.cluster.created and not expected:
            self.violations.append(f"{run} never had a job and was reported as crashed: {message}")

    def attempt_of(self, run: str) -> str:
        """Return the attempt of ours that a run is under; "" if there is none."""
        states = self.server.states[run]
        claims = [s for s in states if (s["type"], s["name"]) == ("PENDING", "Pending")]
        released = self.server.type_of(run) == "SCHEDULED" and not self.server.is_in_process(run)
        if not claims or released:
            return ""
        marker = parse_marker(claims[-1]["message"])
        return str(claims[-1]["id"]) if marker and marker.owner == OWNER else ""

    def unsettled(self) -> list[str]:
        """Return runs of ours that nothing will finish, and Jobs that no run waits for.

        A leader cannot know of a Job in a namespace that it does not observe, if no active run of
        it is left.
        """
        observed = next(w.runtime.scopes for w in self.workers if w.leadership.is_leader)
        runs = [
            f"{run} is {self.server.type_of(run)}"
            for run in self.server.rows
            if (attempt := self.attempt_of(run))
            and self.server.type_of(run) not in FINAL
            and not self.is_suspended(run)
            and all(
                job.phase.is_over or (job.deleting and job.name in self.cluster.hung)
                for job in self.cluster.jobs_of(attempt)
            )
        ]
        jobs = [
            f"{job.name} waits"
            for job in self.cluster.jobs.values()
            if job.phase is Phase.WAITING
            and not job.deleting
            and job.location in observed
            and (
                self.server.type_of(job.run) in ("", *FINAL)
                or self.attempt_of(job.run) != job.attempt
            )
        ]
        return runs + jobs

    def is_suspended(self, run: str) -> bool:
        """Return whether the run waits for a user without a process."""
        return self.server.type_of(run) == "PAUSED" and not self.server.is_in_process(run)

    def settle(self) -> None:
        """Let time pass without faults, with all workers doing their work."""
        self.allow()
        for _ in range(12):
            self.clock.now += 30
            self.run_workers()
            for job in list(self.cluster.jobs.values()):
                if job.deleting and job.name not in self.cluster.hung:
                    self.terminate(job)
                if job.deleting and job.name in self.cluster.jobs:
                    self.vanish(job)

    def _new_worker(self, number: int, *, is_leader: bool) -> SimulatedWorker:
        self._processes += 1
        name = f"worker-{number}"
        return SimulatedWorker(self, name, UUID(int=self._processes), is_leader=is_leader)

    @staticmethod
    def _pick(items: Sequence[T], number: int) -> T:
        return items[number % len(items)]


def _releases(state: Json) -> bool:
    """Whether a state lets a worker claim the run: SCHEDULED, but for retries in the process."""
    return bool(state["type"] == "SCHEDULED" and not state["in_process"])
