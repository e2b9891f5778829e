"""Causes by exit code."""

from __future__ import annotations

import pytest

from deployctl.worker.runtimes.exit_codes import exit_cause


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (1, "ExitCode", "code 1"),
        (2, "ExitCode", "code 2"),
        (127, "CommandNotFound", "not found"),
        (134, "Signal", "SIGABRT"),
        (137, "Killed", "SIGKILL"),
        (-9, "Killed", "SIGKILL"),
        (143, "Terminated", "SIGTERM"),
        (-15, "Terminated", "SIGTERM"),
        (-11, "Signal", "SIGSEGV"),
        (247, "OutOfMemory", "memory"),
        (255, "ExitCode", "code 255"),
        (0xC000013A, "ExitCode", "code 3221225786"),
    ],
)
def test_exit_cause(code: int, name: str, message: str) -> None:
    cause = exit_cause(code)
    assert cause.code == name
    assert cause.message.startswith("it ")
    assert message in cause.message
    assert cause.help.endswith(".")
