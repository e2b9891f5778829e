"""Runs jobs as local processes, which go on when the worker dies and are found by the next one.

Each attempt has a folder in the pool's state folder, and `clients.detached` keeps there what is
needed to know about its program at any time. So the folder is the only memory: several workers may
share it, and none has to be the program's parent. Changes are found by looking, twice a second,
instead of by hearing of them: that costs a few system calls per job and works for all of them.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

_SECONDS_BETWEEN_LOOKS = 0.5
_TRIES_TO_CLAIM = 20
_SECONDS_BETWEEN_CLAIMS = 0.05
_KEPT_SECONDS = 24 * 3600.0
"""How long folders of programs that ended stay, for people who look for their output."""

_UNKNOWN_END = Cause(
    "Lost",
    "it ended and nobody knows how",
    "It was killed together with its shell, or the machine restarted.",
)


class ProcessRuntime:
    """Local processes of one pool, by the folder that remembers them."""

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
    ) -> None:
        """`state`: where all pools of this machine are remembered. `pool`: the pool's id.

        `major`: the server's, which decides how a pid is written. `environ`: what every program
        inherits. `clock`: gives the server's time. `python`: programs are first looked for beside
        this interpreter. `home`: the folder that programs run in whose job names none; None: a new
        one each. `grace`: seconds between SIGTERM and SIGKILL.
        """
        self._folder = (state / pool).resolve()
        self._major = major
        self._environ = environ
        self._ahead = round(clock() - time.time())
        """Seconds by which the server's clock is ahead of this machine's."""
        self._python = python
        self._home = home
        self._grace = grace
        self._host = socket.gethostname()
        self.owner = f"{self._host}/{digest(str(self._folder))[:8]}/{pool}"
        self._children: set[int] = set()
        self._tails: dict[str, Tail] = {}
        self._over: dict[str, tuple[Job, float]] = {}
        """Jobs that were seen to be over, and when (monotonic): they do not change any more."""
        self._watch = WatchStatus(str(self._folder), 0.0)

    def start(self, spec: JobSpec) -> Job:
        """Starts a program, or gives the one of this attempt that was started already.

        Raises StartFailed where its command or folder is missing, NotNow where the state folder
        cannot be written.
        """
        with self._usable(spec.attempt) as folder:
            for _ in range(_TRIES_TO_CLAIM):
                job = self._read(folder)
                if job is not None and job.started:
                    return job
                try:
                    return self._start(folder, spec)
                except supervised.LockHeld:
                    time.sleep(_SECONDS_BETWEEN_CLAIMS)
        raise RuntimeUnavailable(f"somebody else is starting '{spec.name}'")

    @contextmanager
    def _usable(self, attempt: str) -> Iterator[Path]:
        """An attempt's folder; what the file system refuses may be asked for again later."""
        folder = self._folder / attempt
        try:
            yield folder
        except OSError as error:
            raise RuntimeUnavailable(f"'{folder}' cannot be used: {error.strerror}") from error

    def _start(self, folder: Path, spec: JobSpec) -> Job:
        """Raises Busy where somebody else starts or runs it."""
        env = {**self._environ, **spec.env}
        argv = self._argv(spec, env.get("PATH"))
        wanted = spec.configuration.get("working_dir") or self._home
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with supervised.lock_folder(folder) as lock:
            if supervised.inspect_process(folder).pid is not None:
                raise supervised.LockHeld
            pid = self._launch(lock, folder, argv, env, wanted, spec)
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
        wanted: str | Path | None,
        spec: JobSpec,
    ) -> int:
        cwd = Path(wanted or folder / "work")
        if not wanted:
            cwd.mkdir(exist_ok=True)
        record = {
            "run": spec.run,
            "name": spec.name,
            "memory": job_labels.encode_metadata(spec),
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
                    "its command or environment cannot be given to a program",
                    "They are too long together, or hold a NUL character.",
                )
            ) from error
        except supervised.NotStarted as error:
            shutil.rmtree(folder)
            raise StartFailed(
                Cause(
                    "NoWorkingDirectory",
                    f"it cannot begin in the folder '{cwd}' on {self._host} ({error})",
                    "Create the folder and let the worker's user enter it, or correct "
                    "`working_dir`.",
                )
            ) from error
        self._children.add(pid)
        return pid

    def stop(self, job: Job) -> None:
        """Asks a program and all that it started to end; `watch` insists, and then forgets it."""
        with (
            self._usable(job.attempt) as folder,
            suppress(FileNotFoundError, FileExistsError),
        ):
            sight = supervised.inspect_process(folder)
            (folder / "stop").touch(exist_ok=False)
            if sight.alive and sight.pid is not None:
                supervised.signal_group(sight.pid, signal.SIGTERM)

    def clean_up(self, spec: JobSpec) -> None:
        """Nothing: nothing is made before the program."""

    def finish_setup(self, job: Job) -> None:
        """Nothing: a start leaves nothing undone."""

    def tail_logs(self, job: Job, lines: int) -> Sequence[str]:
        """The last lines that the program printed."""
        with self._usable(job.attempt) as folder:
            return last_lines(folder / "output", lines)

    def find(
        self,
        attempt: str,
        spec: JobSpec | None = None,  # noqa: ARG002
        pid: str = "",  # noqa: ARG002
    ) -> Job | None:
        """The program of this attempt, if it was ever started and is not forgotten."""
        with self._usable(attempt) as folder:
            return self._read(folder)

    def watch_statuses(self) -> Iterable[WatchStatus]:
        """How well `watch` is doing."""
        return [self._watch]

    def watch(self, emit: Emit, stop: CancellationToken) -> None:
        """Looks at all programs twice a second and tells what changed, until asked to stop."""
        before: dict[str, Job] | None = None
        while True:
            try:
                requested_at = time.monotonic()
                jobs = self._look_around()
                for line in self._printed(jobs, first=before is None):
                    emit(line)
                for news in diff_jobs(before, jobs, str(self._folder), requested_at):
                    emit(news)
            except OSError as error:
                problem = f"'{self._folder}' cannot be read: {error.strerror}"
                self._watch = replace(self._watch, problem=problem)
            else:
                before = jobs
                self._watch = replace(
                    self._watch, last_contact=time.time() + self._ahead, problem=""
                )
            if stop.wait(_SECONDS_BETWEEN_LOOKS):
                return

    def _look_around(self) -> dict[str, Job]:
        """All programs of the pool by attempt; those to be stopped are driven on."""
        self._children.difference_update([pid for pid in [*self._children] if supervised.reap(pid)])
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        jobs = {}
        for folder in self._folder.iterdir():
            over, seen = self._over.get(folder.name, (None, 0.0))
            job = self._drive(folder, over or self._read(folder))
            if job is not None and over and time.monotonic() - seen > _KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            elif job is not None:
                jobs[job.attempt] = job
                if job.phase.is_over and not over:
                    shutil.rmtree(folder / "work", ignore_errors=True)
                    self._over[job.attempt] = job, time.monotonic()
        self._over = {attempt: entry for attempt, entry in self._over.items() if attempt in jobs}
        return jobs

    def _drive(self, folder: Path, job: Job | None) -> Job | None:
        """Takes a program that is to end one step further; None where the job is gone, even if
        something that it left cannot be deleted."""
        asked = folder / "stop"
        if job is None or not asked.exists():
            return job
        sight = supervised.inspect_process(folder)
        if not sight.alive:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        if sight.pid is not None and time.time() - asked.stat().st_mtime > self._grace:
            supervised.signal_group(sight.pid, signal.SIGKILL)
        return replace(job, deleting=True)

    def _read(self, folder: Path) -> Job | None:
        """The job in this folder; None where nothing of it has run and nobody is starting it."""
        try:
            sight = supervised.inspect_process(folder)
            if sight.pid is None and not sight.alive:
                return None
            return self._job(folder, sight)
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return None

    def _job(self, folder: Path, sight: ProcessStatus) -> Job:
        record = json.loads((folder / "job.json").read_text())
        worker, limits = job_labels.decode_metadata(record["memory"])
        phase, cause = phase_and_cause(sight)
        pid = str(sight.pid or "")
        return Job(
            run=record["run"],
            attempt=folder.name,
            name=record["name"],
            location=str(self._folder),
            pid=f"{self._host}:{pid}" if self._major < 3 and pid else pid,
            worker=worker,
            phase=phase,
            since=self._ahead + (sight.since or (folder / "job.json").stat().st_mtime),
            started=sight.pid is not None,
            cause=cause,
            limits=limits,
        )

    def _printed(self, jobs: Mapping[str, Job], *, first: bool) -> Iterator[LinePrinted]:
        """What programs printed since the look before.

        At the first look nothing: another worker may have told what is there already.
        """
        for attempt, job in jobs.items():
            if not job.limits.stream_output:
                continue
            output = self._folder / attempt / "output"
            tail = self._tails.setdefault(attempt, Tail(output, at_end=first))
            for line in tail.read(final=job.phase.is_over):
                yield LinePrinted(attempt, line)
        self._tails = {attempt: tail for attempt, tail in self._tails.items() if attempt in jobs}


def phase_and_cause(sight: ProcessStatus) -> tuple[Phase, Cause | None]:
    """How far a program has come, and why it failed if it did."""
    if sight.exit_code == 0:
        return Phase.SUCCEEDED, None
    if sight.exit_code is not None:
        return Phase.FAILED, exit_cause(sight.exit_code)
    if sight.pid is None:
        return Phase.WAITING, None
    return (Phase.RUNNING, None) if sight.alive else (Phase.FAILED, _UNKNOWN_END)


def diff_jobs(
    before: Mapping[str, Job] | None, now: Mapping[str, Job], location: str, requested_at: float
) -> Iterator[RuntimeUpdate]:
    """What to tell after a look that was `begun` then, given the look before it (None: this is the
    first)."""
    if before is None:
        yield JobsListed(location, tuple(now.values()), requested_at)
        return
    for attempt, job in now.items():
        if before.get(attempt) != job:
            yield JobChanged(job)
    for attempt in before.keys() - now.keys():
        yield JobVanished(attempt)
