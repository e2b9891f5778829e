"""Causes of a job's end by the exit code of its program.

A flow that fails exits with 0, because its failure is in its state. Every other code is about the
program or the machine, never about the flow.
"""

from __future__ import annotations

import signal

from deployctl.worker.model import Cause

_READ_LOG = "The last lines of its log say more."

_CAUSES = {
    1: Cause("ExitCode", "it exited with code 1, a general error", _READ_LOG),
    125: Cause(
        "StartError",
        "it exited with code 125: the container could not be run",
        "Check the image, its entrypoint, and the container engine.",
    ),
    126: Cause(
        "StartError",
        "it exited with code 126: its command cannot be executed",
        "Make the file executable, and check that it is built for the machine's processor.",
    ),
    127: Cause(
        "CommandNotFound",
        "it exited with code 127: its command was not found",
        "Install it where the job runs, or correct `command` or PATH.",
    ),
    137: Cause(
        "Killed",
        "it was killed by SIGKILL, as happens when memory runs out",
        "Give it more memory, unless it was killed on purpose.",
    ),
    143: Cause(
        "Terminated",
        "it was ended by SIGTERM",
        "Check what stopped it: a shutdown, an eviction, a user.",
    ),
    247: Cause(
        "OutOfMemory",
        "it exited with code 247, as happens when memory runs out",
        "Give it more memory.",
    ),
}


def exit_cause(code: int) -> Cause:
    """The cause of an exit with a code other than 0. Its message begins with "it".

    A code of 128 + n means signal n, as reported by shells and container engines; so does -n.
    """
    if code < 0:
        code = 128 - code
    if code in _CAUSES:
        return _CAUSES[code]
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return Cause("ExitCode", f"it exited with code {code}", _READ_LOG)
    return Cause("Signal", f"it was ended by {name}", _READ_LOG)
