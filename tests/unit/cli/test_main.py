"""How a process ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

WAITS = """
import threading
from deployctl.cli import main
def run():
    threading.Thread(target=threading.Event().wait).start()
    print("done", flush=True)
    return 7
main.run = run
main.main()
"""


@pytest.mark.timeout(60)
def test_requests_that_nobody_answers_keep_no_process_alive() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WAITS], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "done\n", "")
