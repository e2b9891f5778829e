"""How the process exits."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import threading
from concurrent.futures import ThreadPoolExecutor
from deployctl.cli import main
def run():
    {start}
    print("done", flush=True)
    return 7
main.run = run
main.main()
"""
BLOCK = "threading.Event().wait"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "start",
    [
        f"threading.Thread(target={BLOCK}).start()",
        f"starter = threading.Thread(target=lambda: ThreadPoolExecutor().submit({BLOCK}),"
        " daemon=True); starter.start(); starter.join()",
    ],
    ids=["thread", "pool of a daemon thread"],
)
def test_blocked_threads_do_not_keep_the_process_alive(start: str) -> None:
    program = PROGRAM.format(start=start)
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (7, "done\n", "")
