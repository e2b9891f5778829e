"""How a process ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

WAITS = """
import threading
from concurrent.futures import ThreadPoolExecutor
from deployctl.cli import main
def run():
    {waits}
    print("done", flush=True)
    return 7
main.run = run
main.main()
"""
FOR_EVER = "threading.Event().wait"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "waits",
    [
        f"threading.Thread(target={FOR_EVER}).start()",
        f"begun = threading.Thread(target=lambda: ThreadPoolExecutor().submit({FOR_EVER}),"
        " daemon=True); begun.start(); begun.join()",
    ],
    ids=["a thread", "a pool of a daemon"],
)
def test_requests_that_nobody_answers_keep_no_process_alive(waits: str) -> None:
    program = WAITS.format(waits=waits)
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "done\n", "")
