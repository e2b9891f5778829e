"""The start-up time of the command line."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.row import Ratio, run_time
from tests.support.environment import isolated
from tests.support.prefect_cli import run_program
from tests.support.servers import PREFECT_3, interpreter

DEPLOYCTL = Path(sys.executable).with_name("deployctl")


def rows() -> Iterator[Ratio]:
    """Compare `--version` and `--help` with `prefect --version`."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        prefect = _start_up(interpreter(PREFECT_3).with_name("prefect"), "--version", home)
        for flag in ("--version", "--help"):
            yield Ratio(flag, prefect, _start_up(DEPLOYCTL, flag, home), budget=1 / 0.12)


def _start_up(program: Path, flag: str, home: Path) -> float:
    return run_time(
        lambda: run_program([str(program), flag], cwd=home, env=isolated(home)), best_of=5
    )
