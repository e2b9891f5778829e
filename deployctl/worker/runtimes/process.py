"""Runtime that runs jobs as local processes, which outlive the worker and are found again.

Each attempt has a folder in the pool's state folder, in which `clients.supervised` keeps all that
must be known of its program. The folder is the only state: several workers may share it, and none
has to be the program's parent. Changes are found by polling twice a second instead of by
notification: that costs a few system calls per job and works for all of them.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from errno import E2BIG
from pathlib import Path

from deployctl.clients import supervised
from deployctl.clients.supervised import ProcessStatus
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import digest
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
    Phase,
    RuntimeUnavailable,
    RuntimeUpdate,
    StartFailed,
    WatchStatus,
)
from deployctl.worker.runtimes.exit_codes import exit_cause
from deployctl.worker.runtimes.tail import Tail, last_lines
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_START_TRIES = 20
_START_RETRY_INTERVAL = 0.05

_LOST = Cause(
    "Lost",
    "it ended and its exit code is unknown",
    "It was killed together with its shell, or the machine restarted.",
)


class ProcessRuntime:
    """`Runtime` for local processes of one work pool, with all state in a folder."""

    def __init__(
        self,
        state: Path,
        pool: str,
        *,
        major: int,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        python: Path | None = None,
        home: Path | None = None,
        grace: float = 30.0,
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`state` is the folder for all pools of this machine, `pool` the id of the work pool.

        `major` is the server's major version, which decides the format of a pid. `environ` is the
        environment that every program inherits. `clock` returns the server's time. `python`:
        programs are first looked for next to this interpreter. `home` is the working directory of
        jobs that name none; None: a new folder for each. `grace` is the time in seconds between
        SIGTERM and SIGKILL.
        """
        self._folder = (state / pool).resolve()
        self._major = major
        self._environ = environ
        self._clock_offset = round(clock() - time.time())
        """Seconds by which the server's clock is ahead of this machine's."""
        self._python = python
        self._home = home
        self._grace = grace
        self._timings = timings
        self._host = socket.gethostname()
        self.owner = f"{self._host}/{digest(str(self._folder))[:8]}/{pool}"
        self._children: set[int] = set()
        self._tails: dict[str, Tail] = {}
        self._finished: dict[str, tuple[Job, float]] = {}
        """Jobs that have ended and change no more, and when that was seen (monotonic)."""
        self._status = WatchStatus(str(self._folder), 0.0)

    def is_of_predecessor(self, owner: str) -> bool:
        """Whether the owner is another machine or state folder with processes of this pool."""
        pattern = f"[^/]+/[0-9a-f]{{8}}/{re.escape(self._folder.name)}"
        return bool(re.fullmatch(pattern, owner)) and owner != self.owner

    def start(self, spec: JobSpec) -> Job:
        """Starts a program, or returns the one of this attempt that was started already.

        Raises StartFailed if its command or folder is missing, RuntimeUnavailable if the
        state folder cannot be written.
        """
        with self._attempt_folder(spec.attempt) as folder:
            for _ in range(_START_TRIES):
                job = self._read(folder)
                if job is not None and job.started:
                    return job
                try:
                    return self._start(folder, spec)
                except supervised.LockHeld:
                    time.sleep(_START_RETRY_INTERVAL)
        raise RuntimeUnavailable(f"another worker is starting '{spec.name}'")

    @contextmanager
    def _attempt_folder(self, attempt: str) -> Iterator[Path]:
        """An attempt's folder. Errors of the file system become RuntimeUnavailable."""
        folder = self._folder / attempt
        try:
            yield folder
        except OSError as error:
            raise RuntimeUnavailable(f"'{folder}' cannot be used: {error.strerror}") from error

    def _start(self, folder: Path, spec: JobSpec) -> Job:
        """Starts the program; raises LockHeld if it runs or another worker is starting it."""
        env = {**self._environ, **spec.env}
        argv = self._argv(spec, env.get("PATH"))
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with supervised.lock_folder(folder) as lock:
            if supervised.inspect_process(folder).pid is not None:
                raise supervised.LockHeld
            pid = self._launch(lock, folder, argv, env, spec)
            return self._job(folder, ProcessStatus(pid, True, since=time.time()))

    def _argv(self, spec: JobSpec, path: str | None) -> list[str]:
        name, *arguments = spec.command
        program = supervised.find_program(name, beside=self._python, path=path)
        if program is None:
            raise StartFailed(
                Cause(
                    "CommandNotFound",
                    f"the program '{name}' was not found on {self._host}",
                    "Install it where the worker runs, or add its folder to PATH.",
                )
            )
        return [program, *arguments]

    def _launch(
        self,
        lock: int,
        folder: Path,
        argv: Sequence[str],
        env: Mapping[str, str],
        spec: JobSpec,
    ) -> int:
        working_dir = spec.configuration.get("working_dir") or self._home
        cwd = Path(working_dir or folder / "work")
        if not working_dir:
            cwd.mkdir(exist_ok=True)
        record = {
            "run": spec.run,
            "name": spec.name,
            "metadata": job_labels.encode_metadata(spec),
        }
        (folder / "job.json").write_text(json.dumps(record))
        try:
            pid = supervised.launch(lock, folder, argv, cwd=cwd.resolve(), env=env)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno != E2BIG:
                raise
            shutil.rmtree(folder)
            raise StartFailed(
                Cause(
                    "StartError",
                    "its command or environment cannot be passed to a program",
                    "Make them shorter, or remove the NUL character that they contain.",
                )
            ) from error
        except supervised.NotStarted as error:
            shutil.rmtree(folder)
            raise StartFailed(
                Cause(
                    "NoWorkingDirectory",
                    f"it cannot start in the folder '{cwd}' on {self._host} ({error})",
                    "Create the folder and let the worker's user enter it, or correct "
                    "`working_dir`.",
                )
            ) from error
        self._children.add(pid)
        return pid

    def delete(self, job: Job) -> None:
        """Sends SIGTERM to a program and all that it started; `watch` sends SIGKILL and cleans
        up."""
        with (
            self._attempt_folder(job.attempt) as folder,
            suppress(FileNotFoundError, FileExistsError),
        ):
            status = supervised.inspect_process(folder)
            (folder / "stop").touch(exist_ok=False)
            if status.alive and status.pid is not None:
                supervised.signal_group(status.pid, signal.SIGTERM)

    def clean_up(self, spec: JobSpec) -> None:
        """Does nothing: `start` creates nothing but the program."""

    def sweep(self, needed: Collection[str]) -> None:
        """Does nothing: `start` creates nothing but the program."""

    def finish_setup(self, job: Job) -> None:
        """Does nothing: `start` leaves nothing unfinished."""

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines that the program printed."""
        with self._attempt_folder(job.attempt) as folder:
            return last_lines(folder / "output", lines)

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        """The program of this attempt, if it was started and is not deleted yet."""
        with self._attempt_folder(attempt) as folder:
            return self._read(folder)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """The status of `watch`."""
        return [self._status]

    def watch(self, emit: Emit, cancellation: CancellationToken) -> None:
        """Polls all programs twice a second and emits changes until cancelled."""
        previous: dict[str, Job] | None = None
        while True:
            try:
                requested_at = time.monotonic()
                jobs = self._poll()
                for line in self._output(jobs, first=previous is None):
                    emit(line)
                for update in diff_jobs(previous, jobs, str(self._folder), requested_at):
                    emit(update)
            except OSError as error:
                problem = f"'{self._folder}' cannot be read: {error.strerror}"
                self._status = replace(self._status, problem=problem)
            else:
                previous = jobs
                self._status = replace(
                    self._status, last_contact=time.time() + self._clock_offset, problem=""
                )
            if cancellation.wait(self._timings.process_poll_interval):
                return

    def _poll(self) -> dict[str, Job]:
        """All programs of the pool by attempt; advances deletions that were requested."""
        self._children.difference_update([pid for pid in [*self._children] if supervised.reap(pid)])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        jobs = {}
        for folder in self._folder.iterdir():
            finished, seen_at = self._finished.get(folder.name, (None, 0.0))
            job = self._advance_deletion(folder, finished or self._read(folder))
            if (
                job is not None
                and finished
                and time.monotonic() - seen_at > self._timings.process_retention
            ):
                shutil.rmtree(folder, ignore_errors=True)
            elif job is not None:
                jobs[job.attempt] = job
                if job.phase.is_over and not finished:
                    shutil.rmtree(folder / "work", ignore_errors=True)
                    self._finished[job.attempt] = job, time.monotonic()
        self._finished = {key: entry for key, entry in self._finished.items() if key in jobs}
        return jobs

    def _advance_deletion(self, folder: Path, job: Job | None) -> Job | None:
        """Advances the deletion of a program, if it was requested.

        Returns None if the job is gone, even if something that it left cannot be deleted.
        """
        request = folder / "stop"
        if job is None or not request.exists():
            return job
        status = supervised.inspect_process(folder)
        if not status.alive:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        if status.pid is not None and time.time() - request.stat().st_mtime > self._grace:
            supervised.signal_group(status.pid, signal.SIGKILL)
        deadline = self._clock_offset + request.stat().st_mtime + self._grace
        return replace(job, deleting=True, deletion_deadline=deadline)

    def _read(self, folder: Path) -> Job | None:
        """The job in this folder; None if nothing of it has run and no worker is starting it."""
        try:
            status = supervised.inspect_process(folder)
            if status.pid is None and not status.alive:
                return None
            return self._job(folder, status)
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None

    def _job(self, folder: Path, status: ProcessStatus) -> Job:
        record = json.loads((folder / "job.json").read_text())
        worker, limits = job_labels.decode_metadata(record.get("metadata"))
        phase, cause = phase_and_cause(status)
        pid = str(status.pid or "")
        return Job(
            run=record["run"],
            attempt=folder.name,
            name=record["name"],
            location=str(self._folder),
            pid=f"{self._host}:{pid}" if self._major < 3 and pid else pid,
            worker=worker,
            phase=phase,
            since=self._clock_offset + (status.since or (folder / "job.json").stat().st_mtime),
            started=status.pid is not None,
            cause=cause,
            limits=limits,
        )

    def _output(self, jobs: Mapping[str, Job], *, first: bool) -> Iterator[LinePrinted]:
        """The lines that programs printed since the previous poll.

        At the first poll there are none: another worker may have emitted the existing ones.
        """
        for attempt, job in jobs.items():
            if not job.limits.stream_output:
                continue
            output = self._folder / attempt / "output"
            tail = self._tails.setdefault(attempt, Tail(output, at_end=first))
            for line in tail.read(final=job.phase.is_over):
                yield LinePrinted(attempt, line)
        self._tails = {attempt: tail for attempt, tail in self._tails.items() if attempt in jobs}


def phase_and_cause(status: ProcessStatus) -> tuple[Phase, Cause | None]:
    """The phase of a program, and why it failed if it did."""
    if status.exit_code == 0:
        return Phase.SUCCEEDED, None
    if status.exit_code is not None:
        return Phase.FAILED, exit_cause(status.exit_code)
    if status.pid is None:
        return Phase.WAITING, None
    return (Phase.RUNNING, None) if status.alive else (Phase.FAILED, _LOST)


def diff_jobs(
    previous: Mapping[str, Job] | None,
    current: Mapping[str, Job],
    location: str,
    requested_at: float,
) -> Iterator[RuntimeUpdate]:
    """The updates between two polls; a complete list for the first one (`previous` is None).

    `requested_at` is when the current poll began, by `time.monotonic`.
    """
    if previous is None:
        yield JobsListed(location, tuple(current.values()), requested_at)
        return
    for attempt, job in current.items():
        if previous.get(attempt) != job:
            yield JobChanged(job)
    for attempt in previous.keys() - current.keys():
        yield JobVanished(attempt)
