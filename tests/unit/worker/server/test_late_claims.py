"""A claim that arrives after its run has ended, by a worker that dies before it notices."""

from __future__ import annotations

import pytest

from deployctl.worker.server.claim_marker import ClaimMarker, with_marker
from tests.unit.worker.simulated_cluster import OWNER
from tests.unit.worker.simulated_server import Proposed
from tests.unit.worker.simulation import Simulation


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("gone", [False, True])
def test_the_run_is_handed_back_by_the_worker_that_finds_it(
    gone: bool, restarted: bool, waited: bool
) -> None:
    """`waited`: the claim reached the server before the end and had to wait for its database. The
    server then gives it the time of its arrival."""
    simulation = Simulation(3, runs=1, workers=1, polite=True)
    simulation.run_workers()
    simulation.job(0, "begin")
    simulation.run_workers()
    simulation.job(0, "finish")
    simulation.run_workers()
    if gone:
        simulation.job(0, "vanish")
    if restarted:
        simulation.restart(0)
    (run,) = simulation.runs
    claim = with_marker("Claimed.", ClaimMarker(OWNER))
    simulation.server.propose(run, Proposed("PENDING", "Pending"), claim)
    if waited:
        *_, running, _, late = simulation.server.states[run]
        late["timestamp"] = running["timestamp"]
    simulation.settle()

    assert simulation.server.type_of(run) == "COMPLETED"
    assert simulation.cluster.started == {simulation.server.states[run][1]["id"]}
