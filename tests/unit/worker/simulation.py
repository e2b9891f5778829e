"""A whole world in one thread: a server, a cluster, workers, people, and everybody's faults.

Everything that can happen is a method, so that a test can put it in any order.
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
from deployctl.worker.model import Job, Phase
from deployctl.worker.server.claim_marker import ClaimMarker, parse_marker, with_marker
from tests.unit.worker.simulated_server import Clock, Missing, Proposed, Server, judge
from tests.unit.worker.simulated_worker import OWNER, Befalls, Cluster, Death, Event, Process

T = TypeVar("T")
STRANGER = "stranger"


class World:
    """Everything, and what must never be seen in it.

    `polite`: people schedule a run again only while no worker is about to do something with it.
    The server knows no condition on a change, so between a look and a deed of one's own there is
    room for a deed of somebody else, and no worker can do anything about that.
    """

    def __init__(self, major: int, runs: int, workers: int, *, polite: bool) -> None:
        self.polite = polite
        self.clock = Clock()
        self.server = Server(self.clock, major)
        self.cluster = Cluster(self.clock)
        self.runs = [self.server.add_run() for _ in range(runs)]
        self.violations: list[str] = []
        self._begun: dict[str, tuple[str, int]] = {}
        """The attempt that began a run last, and how many states the run had then."""
        self._lives = 0
        self.workers = [
            Process(self, "worker", self._salt(), number == 0) for number in range(workers)
        ]

    def do(self, event: Event) -> None:
        """Lets something happen."""
        deed, *arguments = event
        getattr(self, deed)(*arguments)

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    # What workers do

    def worker(self, number: int, deed: str, ahead: Sequence[Befalls]) -> None:
        """A worker does something, and this befalls its requests in turn."""
        worker = self._pick(self.workers, number)
        before, worker.wire.ahead = worker.wire.ahead, list(ahead)
        try:
            getattr(worker, deed)()
        except Death:
            self.restart(number)
        except DeployctlError:
            pass
        finally:
            worker.wire.ahead = before

    def calm(self) -> None:
        """Every worker does all that there is to do."""
        for number in range(len(self.workers)):
            self.worker(number, "turn", ())

    def restart(self, number: int) -> None:
        """A worker dies, and its successor knows nothing."""
        number %= len(self.workers)
        self.workers[number] = Process(self, "worker", self._salt(), self.workers[number].is_leader)

    def elect(self, number: int) -> None:
        """Another worker leads."""
        for index, worker in enumerate(self.workers):
            worker.is_leader = index == number % len(self.workers)

    # What jobs do

    def job(self, number: int, deed: str) -> None:
        """Something happens to a job, if there is one."""
        if jobs := list(self.cluster.jobs.values()):
            getattr(self, deed)(self._pick(jobs, number))

    def begin(self, job: Job) -> None:
        """The job's pod runs, and its flow begins if the server agrees."""
        if job.phase is not Phase.WAITING or job.deleting:
            return
        job = replace(job, phase=Phase.RUNNING, started=True, since=self.clock.now)
        self.cluster.put(job)
        if not self._told(job, "RUNNING"):
            self.exit(job)
            return
        self.cluster.begun.add(job.attempt)
        before, length = self._begun.get(job.run, (job.attempt, 0))
        states = self.server.states[job.run]
        self.clock.now += 3  # no pod comes up quicker
        if before != job.attempt and all(s["type"] != "SCHEDULED" for s in states[length:]):
            self.violations.append(f"{job.run} was begun twice, by {before} and {job.attempt}")
        self._begun[job.run] = job.attempt, len(states)

    def finish(self, job: Job) -> None:
        """The flow ends well, says so, and its pod exits."""
        if job.phase is Phase.RUNNING:
            self._told(job, "COMPLETED")
            self.exit(job)

    def exit(self, job: Job) -> None:
        """The pod exits well, without a word of its own."""
        if job.phase is Phase.RUNNING:
            self.cluster.put(replace(job, phase=Phase.SUCCEEDED, since=self.clock.now))

    def fail(self, job: Job) -> None:
        """The pod is lost."""
        if not job.phase.is_over:
            self.cluster.put(replace(job, phase=Phase.FAILED, since=self.clock.now))

    def vanish(self, job: Job) -> None:
        """The job goes: its deletion has come to an end, its TTL is over, or somebody wants so."""
        self.cluster.gone(job.name)

    def _told(self, job: Job, kind: str) -> bool:
        try:
            answer = self.server.propose(job.run, Proposed(kind, kind.title()))
        except Missing:
            return False
        return bool(answer["status"] == "ACCEPT")

    # What people and strangers do

    def user(self, number: int, kind: str, name: str) -> None:
        """Somebody puts a run into a state."""
        run = self._pick(self.runs, number)
        again = kind == "SCHEDULED" and self.polite
        if run in self.server.rows and not (again and not self._is_quiet(run)):
            self.server.propose(run, Proposed(kind, name))

    def stranger(self, number: int) -> None:
        """A worker of somebody else takes a run, if it is to be had, and then works on it.

        One is like us in another cluster, the other one is Prefect's, which leaves no mark.
        """
        run = self._pick(self.runs, number)
        kind = self.server.type_of(run)
        if kind == "SCHEDULED":
            message = with_marker("Claimed.", ClaimMarker(STRANGER)) if number else ""
            self.server.propose(run, Proposed("PENDING", "Pending"), message)
        elif kind in ("PENDING", "RUNNING") and not self.attempt_of(run):
            name = self.server.rows[run]["state_name"]
            after = {"Pending": "PENDING", "Submitting": "RUNNING", "Running": "COMPLETED"}[name]
            named = "Submitting" if name == "Pending" else after.title()
            self.server.propose(run, Proposed(after, named))

    def rename(self, number: int) -> None:
        """Somebody calls a run something else."""
        run = self._pick(self.runs, number)
        if run in self.server.rows:
            self.server.rows[run]["name"] += "x"

    def delete(self, number: int) -> None:
        """Somebody deletes a run."""
        self.server.rows.pop(self._pick(self.runs, number), None)

    def _is_quiet(self, run: str) -> bool:
        """Whether no worker is about to do anything with the run, and all know its jobs."""
        return all(
            worker.heard == len(self.cluster.news) + 1
            and not worker.inbox
            and run not in worker.table.in_flight
            and run not in worker.table.own_claims.values()
            for worker in self.workers
        )

    # What must hold

    def watch(self, request: Request) -> None:
        """Looks at what a worker asks of the server."""
        found = re.fullmatch("/flow_runs/(.+)/set_state", request.path)
        if found is None or found[1] not in self.server.rows:
            return
        run, state = found[1], request.body["state"]
        before = self.server.rows[run]
        proposed = Proposed(state["type"], state["name"], state["state_details"]["transition_id"])
        proposed = proposed._replace(force=request.body["force"])
        pid = before["infrastructure_pid"] or ""
        if judge(before["state"], pid, proposed, self.server.major)[0] != "ACCEPT":
            return
        if state["name"] == "Pending":
            if before["state_type"] in FINAL:
                self.violations.append(f"{run} was claimed when it was {before['state_type']}")
            return
        attempt = self.attempt_of(run)
        if self.polite and not attempt:
            self.violations.append(f"{run} is not ours and became {state['type']}")
        elif state["type"] == "CRASHED" and attempt:
            self._crashed(run, attempt, state["message"])

    def _crashed(self, run: str, attempt: str, message: str) -> None:
        jobs = self.cluster.of(attempt)
        if any(job.phase is Phase.RUNNING and not job.deleting for job in jobs):
            self.violations.append(f"{run} runs and was called crashed: {message}")
        if attempt not in self.cluster.created and "cannot be started" not in message:
            self.violations.append(f"{run} never had a job and was called crashed: {message}")

    def attempt_of(self, run: str) -> str:
        """The attempt of ours that a run is under; "" if it is nobody's or somebody else's."""
        states = self.server.states[run]
        claims = [s for s in states if (s["type"], s["name"]) == ("PENDING", "Pending")]
        if not claims or self.server.type_of(run) == "SCHEDULED":
            return ""
        mark = parse_marker(claims[-1]["message"])
        return str(claims[-1]["id"]) if mark and mark.owner == OWNER else ""

    def unsettled(self) -> list[str]:
        """Runs of ours that nothing brings to an end, and jobs that nothing waits for."""
        runs = [
            f"{run} is {self.server.type_of(run)}"
            for run in self.server.rows
            if (attempt := self.attempt_of(run))
            and self.server.type_of(run) not in FINAL
            and all(job.phase.is_over for job in self.cluster.of(attempt))
        ]
        jobs = [
            f"{job.name} waits"
            for job in self.cluster.jobs.values()
            if job.phase is Phase.WAITING
            and (
                self.server.type_of(job.run) in ("", *FINAL)
                or self.attempt_of(job.run) != job.attempt
            )
        ]
        return runs + jobs

    def settle(self) -> None:
        """Faults have ended: time goes by and every worker does its work."""
        for _ in range(12):
            self.clock.now += 30
            self.calm()
            for job in list(self.cluster.jobs.values()):
                if job.deleting:
                    self.vanish(job)

    def _salt(self) -> UUID:
        self._lives += 1
        return UUID(int=self._lives)

    @staticmethod
    def _pick(things: Sequence[T], number: int) -> T:
        return things[number % len(things)]
