"""Output that cannot be written is an error of the surroundings, whichever command writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
EXAMPLE = Path(__file__).parents[3] / "examples" / "etl"
MAIN = "from deployctl.cli.main import main; main()"


def told(*command: str, unbuffered: bool) -> tuple[int, str]:
    """The exit code and the complaints of a command whose output goes nowhere."""
    environ = {**os.environ, "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=EXAMPLE,
            env=environ,
            check=False,
        )
    return done.returncode, done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="a device that is always full")
@pytest.mark.parametrize("unbuffered", [True, False], ids=["at once", "at the end"])
@pytest.mark.parametrize(
    "command",
    ["--version", "--help", "schema", "explain DC123", "validate", "validate --output json"],
)
def test_a_full_disk_is_said(command: str, unbuffered: bool) -> None:
    assert told(*command.split(), unbuffered=unbuffered) == (
        1,
        "the output cannot be written: No space left on device\n",
    )
