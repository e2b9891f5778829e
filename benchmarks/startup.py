"""How long the command line takes to say anything at all."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Row, seconds
from tests.support.environment import isolated
from tests.support.prefect_cli import run_program
from tests.support.servers import PREFECT_3, interpreter

DEPLOYCTL = Path(sys.executable).with_name("deployctl")


def rows() -> Iterator[Row]:
    """`--version` and `--help` beside `prefect --version`."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)

        def time_of(program: Path, flag: str) -> float:
            return seconds(
                lambda: run_program([str(program), flag], cwd=home, env=isolated(home)), best_of=5
            )

        prefect = time_of(interpreter(PREFECT_3).with_name("prefect"), "--version")
        for flag in ("--version", "--help"):
            yield Row(flag, prefect, time_of(DEPLOYCTL, flag), budget=1 / 0.12)
