"""Programs that outlive the process that started them, and can be found again by their folder.

Each program has a folder. A small shell between the starter and the program writes its process id
before the program starts and the exit code after it ended, so that a process that is not the parent
can read both. A lock on a file in the folder says whether the program is alive: the starter takes
it, and shell and program inherit it as their standard input (the file is empty, so they read
nothing). The kernel releases the lock when the last of them ends, however it ends, so no process id
needs to be trusted after a crash or a reboot.

So a program is started exactly once per folder: without a recorded process id it has never run, and
the holder of the lock may start it; with one, it must not be started again. The cost: a shell of
half a megabyte per program, and a folder on a file system that supports locks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SHELL = "/bin/sh"
_SCRIPT = """
trap : HUP INT TERM
folder=$1
note() { echo "$2" >"$folder/$1.part" && mv "$folder/$1.part" "$folder/$1"; }
cd "$2" && note pid $$ || exit
shift 2
"$@"
note exit $?
"""
"""Signals go to the whole group, so the shell traps those that usually end a program."""

_POLL_INTERVAL = 0.002
_DEFAULT_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGQUIT)


class LockHeld(Exception):
    """The lock of the folder is held: the program is running or being started."""


class NotStarted(Exception):
    """The program has not run; the message is the error of the shell."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The state of a program at one moment."""

    pid: int | None
    """The leader of its process group. None: it has never run. 0: it has run, but its process id
    was lost when the machine lost power."""
    alive: bool
    """Whether a process of it is running, or it is being started."""
    exit_code: int | None = None
    """128 + n if signal n ended it; None while it runs, and if the exit code was not recorded."""
    since: float = 0.0
    """When it started, or ended: seconds since the epoch."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Holds the lock of a folder and yields its file descriptor for `launch`.

    Raises LockHeld if it is held already.
    """
    descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockHeld from error
        yield descriptor
    finally:
        os.close(descriptor)


def launch(
    lock: int, folder: Path, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> int:
    """Starts a program in a session of its own and returns the id of its process group.

    `lock` comes from `lock_folder(folder)`; `env` is the complete environment. Output goes to the
    file `output` in the folder. The caller must call `reap` for the id from time to time. Raises
    NotStarted, e.g. if `cwd` is not accessible.
    """
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        pid = os.posix_spawn(
            _SHELL,
            [_SHELL, "-c", _SCRIPT, "sh", str(folder), str(cwd), *argv],
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, lock, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )
    finally:
        os.close(output)
    _wait_for_pid_file(pid, folder)
    return pid


def _wait_for_pid_file(pid: int, folder: Path) -> None:
    """Waits until the shell has written its process id, which takes some milliseconds."""
    while not (folder / "pid").exists():
        if reap(pid) and not (folder / "pid").exists():
            lines = (folder / "output").read_text(errors="replace").splitlines()
            raise NotStarted(lines[-1] if lines else "the shell ended at once")
        time.sleep(_POLL_INTERVAL)


def inspect_process(folder: Path) -> ProcessStatus:
    """Reads the state of the program in this folder.

    Raises FileNotFoundError if the folder does not exist or was never locked.
    """
    alive = _is_locked(folder)
    pid, started = _read_number(folder / "pid")
    if pid is None and started:
        pid = 0
    exit_code, ended = _read_number(folder / "exit")
    return ProcessStatus(pid, alive, exit_code, max(started, ended))


def _is_locked(folder: Path) -> bool:
    descriptor = os.open(folder / "lock", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _read_number(path: Path) -> tuple[int | None, float]:
    """Reads a number that the shell wrote, and when; a loss of power may leave an empty file."""
    try:
        text, moment = path.read_text().strip("\0\n"), path.stat().st_mtime
    except FileNotFoundError:
        return None, 0.0
    return int(text) if text else None, moment


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to the process group of a program; does nothing if it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def reap(pid: int) -> bool:
    """Collects the exit status of a program that we started; returns whether it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def find_program(name: str, *, beside: Path | None, path: str | None) -> str | None:
    """Finds a program next to the interpreter `beside`, else on `path`; None if there is none.

    A name with a slash is used as it is.
    """
    folders = [str(beside.parent)] if beside is not None else []
    return shutil.which(name, path=os.pathsep.join([*folders, path or os.defpath]))
