"""What the suite does with a failed test (`tests/support/reruns.py`), in a suite of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = """
import time
from itertools import count
from pathlib import Path

import pytest

runs = count(1)
starts = count(1)
hangs = count(1)
integration = pytest.mark.integration

@pytest.fixture(scope="module")
def server():
    assert next(starts) > 1, "did not start"
    return next(starts)

@integration
def test_setup_fails_once(server):
    assert server == 3

@integration
def test_fails_once(server):
    assert server == 3
    assert next(runs) > 1, "the first time"

@integration
@pytest.mark.timeout(2)
def test_hangs_once():
    time.sleep(30 if next(hangs) == 1 else 0)

@integration
@pytest.mark.timeout(2)
def test_hangs():
    time.sleep(30)

units = count(1)

def test_unit():
    assert next(units) > 1
"""


def test_a_failed_integration_test_is_run_again_and_reported(tmp_path: Path) -> None:
    tests = tmp_path / "test_file.py"
    tests.write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = integration\ntimeout = 30")
    options = ["-p", "tests.support.reruns", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    distributed = ["--numprocesses", "1", "--dist", "loadfile", "--max-worker-restart", "0"]
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            *distributed,
            "-c",
            tmp_path / "pytest.ini",
            tests,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 failed, 3 passed, 4 rerun" in ended.stdout, ended.stdout + ended.stderr
    again = ended.stdout.partition("passed only when run again: 3")[2]
    flat = re.sub(r"\S*/test_file.py:\d+: ", "", again)
    assert "::test_setup_fails_once\n    AssertionError: did not start\n" in flat
    assert "::test_fails_once\n    AssertionError: the first time\n" in flat
    assert "::test_hangs_once\n    Failed: Timeout (>2.0s) from pytest-timeout.\n" in flat
