"""A run may be called something else at any time; its attempt's job is not."""

from __future__ import annotations

import pytest

from deployctl.worker.server.claim_marker import ClaimMarker, parse_marker, with_marker
from tests.unit.worker.simulated_worker import Meanwhile
from tests.unit.worker.simulation import World


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_is_renamed_while_two_workers_create_its_job_gets_one(major: int) -> None:
    world = World(major, runs=1, workers=2, polite=True)
    for deed in ("poll", "step", "act", "step"):
        world.worker(1, deed, ())
    takeover = Meanwhile([("rename", 0), ("calm",), ("wait", 20), ("calm",)])
    world.worker(1, "act", (None, None, takeover))

    assert len(world.cluster.created) == 1
    assert world.cluster.doubled == []


@pytest.mark.parametrize("name", ["", "red-fox", "Réd fox ] [deployctl x]\n%", "x" * 500])
def test_a_claim_says_what_its_run_was_called(name: str) -> None:
    mark = ClaimMarker("cluster/ns/pool", name=name)
    assert parse_marker(with_marker("Claimed by worker 'w'.", mark)) == mark


def test_a_mark_without_a_name_is_read() -> None:
    assert parse_marker("Claimed. [deployctl me]") == ClaimMarker("me")
