from __future__ import annotations

import random
from itertools import islice

from deployctl.core.retry import Backoff


def test_waits_double_up_to_the_longest() -> None:
    waits = Backoff(tries=6, first=1.0, longest=5.0, jitter=0.0).waits(random.Random(1))
    assert list(waits) == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_waits_go_on_for_as_long_as_a_server_is_down() -> None:
    waits = Backoff(tries=10**9, first=1.0, longest=30.0, jitter=0.0).waits(random.Random(1))
    assert next(islice(waits, 3000, None)) == 30.0
