"""Flows that end in every way that a worker must understand."""

from __future__ import annotations

import subprocess
import sys
import time

from prefect import flow
from prefect.runtime import flow_run


@flow(log_prints=True)
def succeeds() -> None:
    print("all is well")


@flow(log_prints=True)
def fails() -> None:
    raise ValueError("the flow gave up by itself")


@flow(log_prints=True)
def devours() -> None:
    """Allocates memory until it is killed."""
    print("still hungry", flush=True)
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * 2**24))


@flow(log_prints=True)
def lasts() -> None:
    """Runs for longer than any test."""
    print("here to stay")
    while True:
        time.sleep(0.2)


KILLER = """
import json, os, sys, time, urllib.request

url = f"{os.environ['PREFECT_API_URL']}/flow_runs/{sys.argv[1]}"
while json.load(urllib.request.urlopen(url))["state_type"] != "SCHEDULED":
    time.sleep(0.5)
os.kill(-1, 9)
"""
"""Kills all processes of its container once the run waits for its retry."""


@flow(log_prints=True, retries=1, retry_delay_seconds=3600)
def retries() -> None:
    """Fails, and its process is killed while it sleeps before the retry."""
    print("the source is down", flush=True)
    subprocess.Popen([sys.executable, "-c", KILLER, flow_run.id], start_new_session=True)
    raise RuntimeError("the source is down")


@flow(log_prints=True)
def recovers() -> None:
    """Ends well only when it is tried again."""
    if flow_run.run_count == 1:
        lasts.fn()
    print("up again")
