"""Runtime that runs jobs as containers of a Docker Engine, or of one with a compatible API.

The engine holds all state: the container of an attempt has a name of its own, so that creating it
twice is refused and the first one is used, and its labels hold what a worker must know after a
restart.

Events are read in consecutive windows of two seconds without gaps, instead of as one endless
stream: no socket has to be closed to stop, a dead connection is noticed, and between two windows
the output of containers is read. Once a minute all containers are listed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deployctl.clients.docker import Engine, EngineRefused, EngineUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.jobs import job_labels
from deployctl.jobs.model import JobSpec
from deployctl.worker.model import (
    Cause,
    Emit,
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    LinePrinted,
    RuntimeUnavailable,
    StartFailed,
    WatchStatus,
)
from deployctl.worker.runtimes import containers
from deployctl.worker.runtimes.cause_rules import CauseRule, first_match
from deployctl.worker.runtimes.tail import last_lines_within_limit
from deployctl.worker.server.runs import seconds
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_ACTIONS = ("create", "start", "die", "oom", "pause", "unpause")
"""Event actions after which a container is inspected again."""
_KILLED = 137
"""Exit code of a process that was ended by SIGKILL."""
_OOM_BEFORE_END = 60.0
"""Seconds before the end of a container in which an event `oom` explains the end."""

_CREATE_ERRORS = (
    CauseRule(
        "(?i)no such image",
        "ImagePull",
        "the engine does not have the image '{image}', and may not pull it",
        "Pull or build it there, or choose another `image_pull_policy`.",
    ),
    CauseRule(
        "executable file not found|no such file or directory",
        "CommandNotFound",
        "the image '{image}' does not have the command: {detail}",
        "Correct `command`, or install Prefect in the image.",
    ),
)


class DockerRuntime:
    """`Runtime` for the containers of one work pool on one engine."""

    def __init__(
        self,
        engine: Engine,
        pool: str,
        *,
        folder: Path,
        linux: bool,
        clock: Callable[[], float] = time.time,
        grace: float = 30.0,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """Connects to the engine. `pool` is the id of the work pool.

        `folder` and `linux` are as in `containers.create_arguments`. `clock` returns the server's
        time. `grace` is the time in seconds between SIGTERM and SIGKILL. Raises RuntimeUnavailable
        when the engine is down.
        """
        self._engine = engine
        self._folder = folder
        self._linux = linux
        self._grace = grace
        self._timings = timings
        self._labels = (f"{job_labels.POOL}={pool}", job_labels.RUN, job_labels.ATTEMPT)
        with _engine_errors():
            self._url = engine.url
            info = engine.info()
        self.owner = f"{info['ID']}/{pool}"
        self._pool = pool
        self._clock = clock
        self._clock_offset = round(clock() - seconds(info["SystemTime"]))
        """Seconds by which the server's clock is ahead of the engine's."""
        self._status = WatchStatus(self._url, 0.0)
        self._finished: dict[str, tuple[Job, float]] = {}
        """Containers that have ended and change no more, by id, and when that was seen
        (monotonic)."""
        self._out_of_memory: set[str] = set()
        """Containers with an event `oom`, by id: if that arrives after the end of the container,
        the engine never sets the flag in its state (20.10)."""
        self._last_lines: dict[str, str] = {}
        """Time of the last line that was emitted, by attempt; "" for none."""

    def is_of_predecessor(self, owner: str) -> bool:
        """Whether the owner is another engine of this work pool."""
        engine, _, pool = owner.partition("/")
        return bool(engine) and pool == self._pool and owner != self.owner

    def start(self, spec: JobSpec) -> Job:
        """Creates and starts a container, or uses the existing one of this attempt.

        Pulls the image first if its policy demands it. Raises StartFailed if the engine
        refuses, RuntimeUnavailable if it is down.
        """
        with _engine_errors():
            container = self._existing(spec)
            if container is None:
                self._provide_image(spec)
                container = self._create(spec)
            return self._ensure_started(container)

    def _existing(self, spec: JobSpec) -> Json | None:
        """The container of this attempt; raises StartFailed for another one of its name."""
        container = self._inspect(spec.name)
        if container is None:
            return None
        if container["Config"]["Labels"].get(job_labels.ATTEMPT) != spec.attempt:
            raise StartFailed(
                Cause(
                    "NameTaken",
                    f"there is a container called '{spec.name}' that is not of this run",
                    "Remove it or give it another name.",
                )
            )
        return container

    def _inspect(self, container: str) -> Json | None:
        try:
            return self._engine.inspect(container)
        except EngineRefused as error:
            if error.status == 404:
                return None
            raise

    def _provide_image(self, spec: JobSpec) -> None:
        image = containers.image_name(spec)
        policy = containers.pull_policy(spec.configuration.get("image_pull_policy"), image)
        if policy == "Never" or (policy == "IfNotPresent" and self._engine.has_image(image)):
            return
        try:
            self._engine.pull(image, spec.configuration.get("registry_credentials"))
        except EngineRefused as error:
            if policy == "IfPossible" and self._engine.has_image(image):
                return
            raise StartFailed(
                Cause(
                    "ImagePull",
                    f"the image '{image}' cannot be pulled: {error.detail.rstrip('.')}",
                    "Check its name and tag, and the pool's `registry_credentials`.",
                )
            ) from error

    def _create(self, spec: JobSpec) -> Json:
        arguments = containers.create_arguments(spec, folder=self._folder, linux=self._linux)
        try:
            return self._engine.inspect(self._engine.create(**arguments))
        except EngineRefused as error:
            existing = self._existing(spec) if error.status == 409 else None
            if existing is not None:
                return existing
            raise StartFailed(_create_error(error, arguments["image"])) from error

    def _ensure_started(self, container: Json) -> Job:
        """Starts a container that never ran. One that cannot be started is removed."""
        id_ = container["Id"]
        if container["State"]["Status"] == "created":
            networks = container["Config"]["Labels"].get(containers.NETWORKS_LABEL, "")
            try:
                for network in filter(None, networks.split(",")):
                    self._engine.connect(id_, network)
                self._engine.start(id_)
            except EngineRefused as error:
                self._engine.remove(id_, grace=0.0)
                raise StartFailed(_create_error(error, container["Config"]["Image"])) from error
            container = self._engine.inspect(id_)
        return self._job(container)

    def delete(self, job: Job) -> None:
        """Stops a container and removes it; waits for both."""
        with _engine_errors():
            self._engine.remove(_id(job), grace=self._grace)

    def clean_up(self, spec: JobSpec) -> None:
        """Does nothing: `start` creates nothing but the container."""

    def sweep(self, needed: Collection[str]) -> None:
        """Does nothing: `start` creates nothing but the container."""

    def finish_setup(self, job: Job) -> None:
        """Starts a container whose worker died between creating and starting it."""
        with _engine_errors():
            container = self._inspect(_id(job))
            if container is not None:
                self._ensure_started(container)

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines that the container printed."""
        with _engine_errors():
            return last_lines_within_limit(
                lambda count: map(_text, self._engine.log(_id(job), lines=count)), lines
            )

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        """The container of this attempt, if there is one."""
        with _engine_errors():
            for each in self._engine.containers(
                (self._labels[0], f"{job_labels.ATTEMPT}={attempt}")
            ):
                if container := self._inspect(each["Id"]):
                    return self._job(container)
        return None

    def _job(self, container: Json) -> Job:
        """The job of a container.

        A killed one counts as ended from when the engine must have said why: a cause that was
        reported cannot be corrected.
        """
        delay = 0.0
        if _is_killed(container):
            if container["Id"] in self._out_of_memory:
                container["State"]["OOMKilled"] = True
            else:
                delay = self._timings.docker_oom_delay
        job = containers.container_job(container, self._url)
        return replace(job, since=job.since + self._clock_offset + delay)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """The status of `watch`."""
        return [self._status]

    def watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        """Lists all containers and emits their changes until cancelled."""
        while not cancellation.is_cancelled:
            try:
                self._list_and_watch(emit, cancellation)
            except (EngineRefused, EngineUnreachable) as error:
                self._status = replace(self._status, problem=str(error))
                cancellation.wait(self._timings.docker_retry_interval)

    def _list_and_watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        since = seconds(self._engine.info()["SystemTime"])
        requested_at = time.monotonic()
        monotonic_offset = since - requested_at
        jobs = {job.attempt: job for job in self._list(since)}
        if not self._status.last_contact:
            self._last_lines = dict.fromkeys(jobs, _log_timestamp(since))
        for job in jobs.values():
            self._emit_output(emit, job)
        emit(JobsListed(self._url, tuple(jobs.values()), requested_at))
        self._mark_healthy()
        next_list = since + self._timings.docker_list_interval
        while since < next_list and not cancellation.is_cancelled:
            until = (
                max(since, time.monotonic() + monotonic_offset) + self._timings.docker_event_window
            )
            for event in self._engine.events(self._labels, since, until):
                self._handle_event(emit, event, jobs)
            for job in jobs.values():
                self._emit_output(emit, job)
            self._mark_healthy()
            since = until

    def _mark_healthy(self) -> None:
        self._status = WatchStatus(self._url, self._clock())

    def _list(self, now: float) -> Iterator[Job]:
        """All jobs. Those of `auto_remove` are removed once their delay is over, as soon as the
        engine allows it. `now`: the time by the engine's clock from which events are read."""
        listed = {each["Id"]: each["Labels"] for each in self._engine.containers(self._labels)}
        self._finished = {id_: entry for id_, entry in self._finished.items() if id_ in listed}
        self._out_of_memory &= listed.keys()
        for id_, labels in listed.items():
            job, seen_at = self._finished.get(id_, (None, 0.0))
            if job is None:
                container = self._inspect(id_)
                if container is not None:
                    self._read_past_events(container, now)
                    yield self._job(container)
            elif (
                containers.AUTO_REMOVE_LABEL in labels
                and time.monotonic() - seen_at > self._timings.auto_remove_delay
            ):
                with suppress(EngineRefused):
                    self._engine.remove(id_, grace=0.0)
            else:
                yield job

    def _read_past_events(self, container: Json, now: float) -> None:
        """Reads whether a killed container ran out of memory. An engine keeps only the latest
        events, so there may be none."""
        if _is_killed(container):
            since = seconds(container["State"]["FinishedAt"]) - _OOM_BEFORE_END
            for event in self._engine.events(self._labels, since, now):
                if event["Action"] == "oom":
                    self._out_of_memory.add(event["Actor"]["ID"])

    def _handle_event(self, emit: Emit, event: Json, jobs: dict[str, Job]) -> None:
        """Emits the change that an event stands for, after the output before it."""
        if event["Action"] == "destroy":
            attempt = event["Actor"]["Attributes"][job_labels.ATTEMPT]
            jobs.pop(attempt, None)
            emit(JobVanished(attempt))
        elif event["Action"] in _ACTIONS:
            id_ = event["Actor"]["ID"]
            if event["Action"] == "oom":
                self._out_of_memory.add(id_)
            container = self._inspect(id_)
            if container is not None:
                job = self._job(container)
                jobs[job.attempt] = job
                if id_ in self._finished:
                    self._finished[id_] = job, self._finished[id_][1]
                self._emit_output(emit, job)
                emit(JobChanged(job))

    def _emit_output(self, emit: Emit, job: Job) -> None:
        """Emits the lines that a container printed since the last call; once after its end.

        Containers that are older than this worker start with what they print from now on.
        """
        if _id(job) in self._finished:
            return
        if job.limits.stream_output and job.started:
            last = self._last_lines.get(job.attempt, "")
            for line in self._engine.log(_id(job), since=seconds(last) or None):
                timestamp = line.partition(" ")[0]
                if timestamp > last:
                    emit(LinePrinted(job.attempt, _text(line)))
                    self._last_lines[job.attempt] = timestamp
        if job.phase.is_over:
            self._finished[_id(job)] = job, time.monotonic()
            self._last_lines.pop(job.attempt, None)


@contextmanager
def _engine_errors() -> Iterator[None]:
    """Translates errors of the engine to RuntimeUnavailable, after which the call is repeated."""
    try:
        yield
    except (EngineRefused, EngineUnreachable) as error:
        raise RuntimeUnavailable(error.message, help=error.help) from error


def _is_killed(container: Json) -> bool:
    """Whether a container was ended by SIGKILL, and its state names no reason."""
    state = container["State"]
    return state["ExitCode"] == _KILLED and not state.get("OOMKilled")


def _create_error(error: EngineRefused, image: str) -> Cause:
    detail = error.detail.strip().rstrip(".")
    return first_match(_CREATE_ERRORS, detail, image=image, detail=detail) or Cause(
        "StartError",
        f"the engine refuses the container: {detail}",
        "Correct the pool's or the deployment's variable that it names.",
    )


def _id(job: Job) -> str:
    return job.pid.rpartition(":")[2]


def _text(line: str) -> str:
    """A line of a log without the timestamp that the engine prepends."""
    return line.partition(" ")[2].rstrip("\r")


def _log_timestamp(moment: float) -> str:
    """A time in the format of log lines: in UTC, with nine digits."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
