"""Programs that outlive whoever started them, and can be found again.

A program has a folder. A tiny shell stands between the starter and the program: it notes its
process id before the program begins and the exit code after it ended, so that both are known to
somebody who is not the program's parent. A lock on a file in the folder says who lives: the starter
takes it, and shell and program inherit it as their standard input (the file is empty, so they read
nothing from it). The kernel gives the lock up when the last of them has ended, however it ended, so
no process id has to be trusted after a crash or a restart of the machine.

Hence a program is started exactly once per folder. Without a process id noted nothing of it has
run, and whoever gets the lock may start it; with one, nobody may. The price: a shell of half a
megabyte per program, and a folder on a file system with locks.
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
"""Signals go to the whole group: the shell outlives those that the program may end from."""

_SECONDS_BETWEEN_LOOKS = 0.002
_SHELLS_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGQUIT)


class LockHeld(Exception):
    """Somebody holds the lock of the folder: the program runs, or is being started."""


class NotStarted(Exception):
    """Nothing of the program has run; the message is what the shell said."""


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """What is known of a program at one moment."""

    pid: int | None
    """The leader of its process group; None: nothing of it has run; 0: it has, before the machine
    lost its power, and which process it was is lost."""
    alive: bool
    """Something of it runs, or it is just being started."""
    exit_code: int | None = None
    """128 + n where signal n ended it; None while it runs, and where nobody could note it."""
    since: float = 0.0
    """When it started, or ended: seconds of the epoch."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Holds the lock of a folder and gives its descriptor, which `launch` hands on.

    Raises Busy where somebody else holds it.
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
    """Starts a program in a session of its own, its output in the folder's file `output`.

    `lock` comes from `claimed(folder)`, `env` is the whole environment. Gives the id of the process
    group. `reap` must be called for it now and then. Raises NotBegun, for instance where `cwd` may
    not be entered.
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
            setsigdef=_SHELLS_SIGNALS,
        )
    finally:
        os.close(output)
    _await_begin(pid, folder)
    return pid


def _await_begin(pid: int, folder: Path) -> None:
    """Returns when the shell has noted its process id, which takes it some milliseconds."""
    while not (folder / "pid").exists():
        if reap(pid) and not (folder / "pid").exists():
            said = (folder / "output").read_text(errors="replace").splitlines()
            raise NotStarted(said[-1] if said else "the shell ended at once")
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def inspect_process(folder: Path) -> ProcessStatus:
    """What there is to see of the program in this folder.

    Raises FileNotFoundError where there is no such folder, or nobody ever claimed it.
    """
    alive = _is_locked(folder)
    pid, started = _note(folder / "pid")
    if pid is None and started:
        pid = 0
    exit_code, ended = _note(folder / "exit")
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


def _note(path: Path) -> tuple[int | None, float]:
    """A number that the shell left, and when; a loss of power may leave a file without it."""
    try:
        text, moment = path.read_text().strip("\0\n"), path.stat().st_mtime
    except FileNotFoundError:
        return None, 0.0
    return int(text) if text else None, moment


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a program and all that it started; one that is gone is fine."""
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def reap(pid: int) -> bool:
    """Lets the system forget a program that we started; gives whether it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def find_program(name: str, *, beside: Path | None, path: str | None) -> str | None:
    """The program of this name: beside a given interpreter, else on PATH; None: not found.

    A name with a slash stands for itself.
    """
    first = [str(beside.parent)] if beside is not None else []
    return shutil.which(name, path=os.pathsep.join([*first, path or os.defpath]))
