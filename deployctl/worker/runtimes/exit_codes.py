"""What the exit code of a job's program means, in words for the owner of the flow.

A flow that fails exits with 0, since the failure is in its state; every other code tells of the
program or the machine, never of the flow.
"""

from __future__ import annotations

import signal

from deployctl.worker.model import Cause

_MEANINGS = {
    1: Cause(
        "ExitCode",
        "it exited with code 1, a general error",
        "The last lines of its log say which.",
    ),
    125: Cause(
        "StartError",
        "it exited with code 125: the container could not be run",
        "Check the image, its entrypoint, and the container engine.",
    ),
    126: Cause(
        "StartError",
        "it exited with code 126: its command cannot be executed",
        "Make the file executable, and see that it fits the machine's processor.",
    ),
    127: Cause(
        "CommandNotFound",
        "it exited with code 127: its command was not found",
        "Install it where the job runs, or correct `command` or PATH.",
    ),
    137: Cause(
        "Killed",
        "it was killed by SIGKILL, as happens when memory runs out",
        "Give it more memory, unless somebody killed it on purpose.",
    ),
    143: Cause(
        "Terminated",
        "it was ended by SIGTERM",
        "Look for who stopped it: a shutdown, an eviction, a person.",
    ),
    247: Cause(
        "OutOfMemory",
        "it exited with code 247, as happens when memory runs out",
        "Give it more memory.",
    ),
}


def exit_cause(code: int) -> Cause:
    """Why a program ended with this code, which is not 0.

    128 + n is a signal n, as shells and container engines write it; -n is the same.
    """
    if code < 0:
        code = 128 - code
    if code in _MEANINGS:
        return _MEANINGS[code]
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return Cause("ExitCode", f"it exited with code {code}", _MEANINGS[1].help)
    return Cause("Signal", f"it was ended by {name}", _MEANINGS[1].help)
