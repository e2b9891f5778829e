"""A claim that comes when its run has ended, by a worker that dies before it notices."""

from __future__ import annotations

import pytest

from deployctl.worker.server.claim_marker import ClaimMarker, with_marker
from tests.unit.worker.simulated_server import Proposed
from tests.unit.worker.simulated_worker import OWNER
from tests.unit.worker.simulation import World


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_the_run_is_handed_back_by_whoever_finds_it(
    gone: bool, restarted: bool, waited: bool
) -> None:
    """`waited`: the claim reached the server before the end, and had to wait for its database. The
    server then gives it the time at which it arrived."""
    world = World(3, runs=1, workers=1, polite=True)
    world.calm()
    world.job(0, "begin")
    world.calm()
    world.job(0, "finish")
    world.calm()
    if gone:
        world.job(0, "vanish")
    if restarted:
        world.restart(0)
    (run,) = world.runs
    claim = with_marker("Claimed.", ClaimMarker(OWNER))
    world.server.propose(run, Proposed("PENDING", "Pending"), claim)
    if waited:
        *_, running, _, late = world.server.states[run]
        late["timestamp"] = running["timestamp"]
    world.settle()

    assert world.server.type_of(run) == "COMPLETED"
    assert world.cluster.begun == {world.server.states[run][1]["id"]}
