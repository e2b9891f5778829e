"""Runs jobs as containers of a Docker engine, or of one that speaks its language.

The engine remembers everything: an attempt's container has a name of its own, so creating it twice
is refused and the first is taken, and its labels hold what a worker must know after a restart.

Events are read in windows of two seconds that join without a gap, instead of as one endless stream:
a stop needs nobody to close a socket, a dead connection is noticed, and between two windows there
is time for what containers printed. Once a minute all containers are listed anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from deployctl.worker.server.runs import seconds

_WINDOW_SECONDS = 2.0
_SECONDS_BETWEEN_LISTS = 60.0
_SECONDS_AFTER_A_FAILURE = 2.0
_KEPT_SECONDS = 3600.0
"""How long a container with `auto_remove` stays after its end: its exit code and its log must be
told first, and the server may be down."""

_TELLING = ("create", "start", "die", "oom", "pause", "unpause")


class DockerRuntime:
    """The containers of one pool on one engine."""

    def __init__(
        self,
        engine: Engine,
        pool: str,
        *,
        folder: Path,
        linux: bool,
        clock: Callable[[], float] = time.time,
        grace: float = 30.0,
    ) -> None:
        """`pool`: the pool's id. `folder`, `linux`: as in `containers.container_settings`.

        `clock`: gives the server's time. `grace`: seconds between SIGTERM and SIGKILL. Raises
        NotNow when the engine is down.
        """
        self._engine = engine
        self._folder = folder
        self._linux = linux
        self._grace = grace
        self._labels = (f"{job_labels.POOL}={pool}", job_labels.RUN, job_labels.ATTEMPT)
        with _patiently():
            self._url = engine.url
            info = engine.info()
        self.owner = f"{info['ID']}/{pool}"
        self._clock = clock
        self._ahead = round(clock() - seconds(info["SystemTime"]))
        """Seconds by which the server's clock is ahead of the engine's."""
        self._watch = WatchStatus(self._url, 0.0)
        self._over: dict[str, tuple[Job, float]] = {}
        """Containers that were seen to be over, and when (monotonic): they change no more."""
        self._told: dict[str, str] = {}
        """The time of the last line that was told, by attempt; "" for none."""

    def start(self, spec: JobSpec) -> Job:
        """Creates and starts a container, or takes the one of this attempt that is there already.

        Pulls the image first where its policy says so. Raises StartFailed where the engine refuses,
        NotNow where it is down.
        """
        with _patiently():
            container = self._existing(spec)
            if container is None:
                self._provide_image(spec)
                container = self._create(spec)
            return self._begin(container)

    def _existing(self, spec: JobSpec) -> Json | None:
        container = self._inspect(spec.name)
        if container is None:
            return None
        if not _is_of(container, spec):
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
        login = spec.configuration.get("registry_credentials")
        try:
            self._engine.pull(image, login)
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
        settings = containers.create_arguments(spec, folder=self._folder, linux=self._linux)
        try:
            return self._engine.inspect(self._engine.create(**settings))
        except EngineRefused as error:
            found = self._existing(spec) if error.status == 409 else None
            if found is not None:
                return found
            raise StartFailed(_refusal(error, settings["image"])) from error

    def _begin(self, container: Json) -> Job:
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
                raise StartFailed(_refusal(error, container["Config"]["Image"])) from error
            container = self._engine.inspect(id_)
        return self._job(container)

    def stop(self, job: Job) -> None:
        """Ends a container and removes it; waits for both."""
        with _patiently():
            self._engine.remove(_id(job), grace=self._grace)

    def clean_up(self, spec: JobSpec) -> None:
        """Nothing: nothing is made before the container."""

    def finish_setup(self, job: Job) -> None:
        """Starts a container whose worker died between creating and starting it."""
        with _patiently():
            container = self._inspect(_id(job))
            if container is not None:
                self._begin(container)

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines that the container printed."""
        with _patiently():
            return [_text(line) for line in self._engine.log(_id(job), lines=lines)]

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        """The container of this attempt, if there is one."""
        with _patiently():
            for each in self._engine.containers(
                (self._labels[0], f"{job_labels.ATTEMPT}={attempt}")
            ):
                if container := self._inspect(each["Id"]):
                    return self._job(container)
        return None

    def _job(self, container: Json) -> Job:
        job = containers.container_job(container, self._url)
        return replace(job, since=job.since + self._ahead)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """How well `watch` is doing."""
        return [self._watch]

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        """Lists all containers and tells what happens to them, until asked to stop."""
        while not stop.is_cancelled:
            try:
                self._list_and_follow(emit, stop)
            except (EngineRefused, EngineUnreachable) as error:
                self._watch = replace(self._watch, problem=str(error))
                stop.wait(_SECONDS_AFTER_A_FAILURE)

    def _list_and_follow(self, emit: Emit, stop: CancellationToken) -> None:
        since = seconds(self._engine.info()["SystemTime"])
        ahead = since - time.monotonic()
        requested_at = time.monotonic()
        jobs = {job.attempt: job for job in self._list()}
        if not self._watch.last_contact:
            self._told = dict.fromkeys(jobs, _stamp(since))
        for job in jobs.values():
            self._print(emit, job)
        emit(JobsListed(self._url, tuple(jobs.values()), requested_at))
        self._heard()
        last = since + _SECONDS_BETWEEN_LISTS
        while since < last and not stop.is_cancelled:
            until = max(since, time.monotonic() + ahead) + _WINDOW_SECONDS
            for event in self._engine.events(self._labels, since, until):
                self._follow(emit, event, jobs)
            for job in jobs.values():
                self._print(emit, job)
            self._heard()
            since = until

    def _heard(self) -> None:
        self._watch = WatchStatus(self._url, self._clock())

    def _list(self) -> Iterator[Job]:
        """All jobs; those of `auto_remove` that have been over for long are removed, as soon as the
        engine agrees."""
        listed = {each["Id"]: each["Labels"] for each in self._engine.containers(self._labels)}
        self._over = {id_: entry for id_, entry in self._over.items() if id_ in listed}
        for id_, labels in listed.items():
            known, seen = self._over.get(id_, (None, 0.0))
            if known is None:
                container = self._inspect(id_)
                if container is not None:
                    yield self._job(container)
            elif containers.AUTO_REMOVE_LABEL in labels and time.monotonic() - seen > _KEPT_SECONDS:
                with suppress(EngineRefused):
                    self._engine.remove(id_, grace=0.0)
            else:
                yield known

    def _follow(self, emit: Emit, event: Json, jobs: dict[str, Job]) -> None:
        """Tells what an event means, after what was printed before it."""
        if event["Action"] == "destroy":
            attempt = event["Actor"]["Attributes"][job_labels.ATTEMPT]
            jobs.pop(attempt, None)
            emit(JobVanished(attempt))
        elif event["Action"] in _TELLING:
            container = self._inspect(event["Actor"]["ID"])
            if container is not None:
                job = self._job(container)
                jobs[job.attempt] = job
                self._print(emit, job)
                emit(JobChanged(job))

    def _print(self, emit: Emit, job: Job) -> None:
        """Tells the lines that a container printed since the last time; of one that is over the
        last ones, once.

        Of containers that were there before this worker only what they print from now on.
        """
        if _id(job) in self._over:
            return
        if job.limits.stream_output and job.started:
            told = self._told.get(job.attempt, "")
            for line in self._engine.log(_id(job), since=seconds(told) or None):
                stamp = line.partition(" ")[0]
                if stamp > told:
                    emit(LinePrinted(job.attempt, _text(line)))
                    self._told[job.attempt] = stamp
        if job.phase.is_over:
            self._over[_id(job)] = job, time.monotonic()
            self._told.pop(job.attempt, None)


@contextmanager
def _patiently() -> Iterator[None]:
    """An engine that is down or fails may be asked again later."""
    try:
        yield
    except (EngineRefused, EngineUnreachable) as error:
        raise RuntimeUnavailable(error.message, help=error.help) from error


def _is_of(container: Json, spec: JobSpec) -> bool:
    """Whether a container of the description's name is of its attempt."""
    attempt: str | None = container["Config"]["Labels"].get(job_labels.ATTEMPT)
    return attempt == spec.attempt


def _refusal(error: EngineRefused, image: str) -> Cause:
    detail = error.detail.strip().rstrip(".")
    if "no such image" in detail.lower():
        return Cause(
            "ImagePull",
            f"the engine does not have the image '{image}', and may not pull it",
            "Pull or build it there, or choose another `image_pull_policy`.",
        )
    if "executable file not found" in detail or "no such file or directory" in detail:
        return Cause(
            "CommandNotFound",
            f"the image '{image}' does not have the command: {detail}",
            "Correct `command`, or install Prefect in the image.",
        )
    return Cause(
        "StartError",
        f"the engine refuses the container: {detail}",
        "Correct the pool's or the deployment's variable that it names.",
    )


def _id(job: Job) -> str:
    return job.pid.rpartition(":")[2]


def _text(line: str) -> str:
    """A line without the time that the engine puts before it."""
    return line.partition(" ")[2].rstrip("\r")


def _stamp(moment: float) -> str:
    """A time as it stands before a line: always in UTC, always nine digits."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
