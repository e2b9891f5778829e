"""Flows that end in every way that a worker must understand."""

from __future__ import annotations

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


@flow(log_prints=True)
def recovers() -> None:
    """Ends well only when it is tried again."""
    if flow_run.run_count == 1:
        lasts.fn()
    print("up again")
