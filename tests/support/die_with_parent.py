"""Programs that die with the one that starts them: `python leash.py PARENT_PID PROGRAM ARG...`.

The kernel sends SIGKILL when the parent is gone, however that happened, so that no test run leaves
servers or a cluster behind. Strictly it is the parent's *thread* that counts: start it from one
that stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent(program: str | Path, *args: str | Path) -> list[str]:
    """The command of a program, given with its whole path, that dies with this process."""
    return [sys.executable, "-IS", __file__, str(os.getpid()), str(program), *map(str, args)]


if __name__ == "__main__":
    parent, program, *args = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):
        os.execv(program, [program, *args])
