"""Run a program that dies with its parent: `python die_with_parent.py PARENT_PID PROGRAM ARG...`.

The kernel sends SIGKILL when the parent exits, whatever the reason, so that no test run leaves
servers or a cluster behind. More precisely, it does when the *thread* exits that started the
program: start it from one that lives as long as the process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(program: str | Path, *args: str | Path) -> list[str]:
    """Return the command line of a program (a full path) that dies with this process."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), str(program), *map(str, args)]


if __name__ == "__main__":
    parent, program, *args = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):
        os.execv(program, [program, *args])
