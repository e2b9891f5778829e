"""Exponential backoff."""

from __future__ import annotations

import random
from itertools import islice

from deployctl.core.retry import Backoff


def test_waits_double_up_to_the_longest() -> None:
    waits = Backoff(tries=6, first=1.0, longest=5.0, jitter=0.0).waits(random.Random(1))
    assert list(waits) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_unlimited_backoff_never_ends_and_never_overflows() -> None:
    waits = Backoff(tries=None, first=1.0, longest=30.0, jitter=0.0).waits(random.Random(1))
    assert next(islice(waits, 3000, None)) == 30.0


def test_nominal_wait_depends_only_on_the_number_of_failures() -> None:
    backoff = Backoff(first=2.0, longest=60.0)
    assert [backoff.nominal_wait(failures) for failures in (0, 1, 4, 10_000)] == [2, 4, 32, 60]
