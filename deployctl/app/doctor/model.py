"""Checks as values, and the bounded execution of what they read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError

T = TypeVar("T")


class CheckStatus(StrEnum):
    """How a check ended, as in the JSON output."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It cannot be made here, or concerns something optional; this is no failure."""


class Area(StrEnum):
    """What a check is about, in the order of the output."""

    PROJECT = "project"
    SERVER = "server"
    POOLS = "work pools"
    IMAGES = "images"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Check:
    """One check with its result."""

    area: Area
    name: str
    status: CheckStatus
    cause: str = ""
    """What was found, why the check failed, or why it was skipped."""
    fix: str = ""
    """What to do about a failure, with the command where there is one."""


def ok(area: Area, name: str, found: str = "") -> Check:
    """A check that succeeded."""
    return Check(area, name, CheckStatus.OK, found)


def failed(area: Area, name: str, cause: str, fix: str = "") -> Check:
    """A check that failed."""
    return Check(area, name, CheckStatus.FAILED, cause, fix)


def failed_with(area: Area, name: str, error: DeployctlError, fix: str = "") -> Check:
    """A check that failed with an error; the error's help comes before `fix`."""
    return failed(area, name, error.message, " ".join(filter(None, (error.help, fix))))


def skipped(area: Area, name: str, reason: str, fix: str = "") -> Check:
    """A check that was not made."""
    return Check(area, name, CheckStatus.SKIPPED, reason, fix)


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What a reading returned; `value` None: it did not end in time."""

    value: T | None = None


def read_all(
    readings: Mapping[str, Callable[[], T]], seconds: float, stop: CancellationToken
) -> dict[str, Reading[T]]:
    """Runs all readings at once, each in a thread of its own, for `seconds` at most.

    A thread that is still blocked then is left behind; it is a daemon. Raises Interrupted, and
    what a reading raises: readings handle the errors that they expect.
    """
    results: dict[str, Reading[T]] = {}
    errors: list[Exception] = []

    def run(name: str, reading: Callable[[], T]) -> None:
        """Keeps the result of one reading."""
        try:
            results[name] = Reading(reading())
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=each, name=f"check {each[0]}", daemon=True)
        for each in readings.items()
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        while thread.is_alive() and (left := end - time.monotonic()) > 0:
            thread.join(min(left, 0.2))
            stop.raise_if_cancelled()
    stop.raise_if_cancelled()
    if errors:
        raise errors[0]
    found = dict(results)
    return {name: found.get(name, Reading()) for name in readings}
