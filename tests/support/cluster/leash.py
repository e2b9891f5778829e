"""Becomes another program that dies with its parent: `python leash.py PARENT_PID PROGRAM ARG...`.

The kernel sends SIGKILL when the parent is gone, however that happened, so that no test run leaves
a cluster behind. Strictly it is the parent's *thread* that counts: start it from one that stays.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, program, *args = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):
        os.execv(program, [program, *args])
