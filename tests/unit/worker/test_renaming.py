"""A run may be renamed at any time; its attempt still has one Job."""

from __future__ import annotations

import pytest

from deployctl.worker.server.claim_marker import ClaimMarker, parse_marker, with_marker
from tests.unit.worker.fault_injection import Meanwhile
from tests.unit.worker.simulation import Simulation


@pytest.mark.parametrize("major", [2, 3])
def test_a_run_that_is_renamed_while_two_workers_create_its_job_gets_one(major: int) -> None:
    simulation = Simulation(major, runs=1, workers=2, polite=True)
    for step in ("poll", "reconcile", "execute_one", "reconcile"):
        simulation.worker(1, step, ())
    takeover = Meanwhile([("rename", 0), ("run_workers",), ("wait", 20), ("run_workers",)])
    simulation.worker(1, "execute_one", (None, None, takeover))

    assert len(simulation.cluster.created) == 1
    assert simulation.cluster.duplicates == []


@pytest.mark.parametrize("name", ["", "red-fox", "Réd fox ] [deployctl x]\n%", "x" * 500])
def test_a_claim_records_the_name_of_its_run(name: str) -> None:
    marker = ClaimMarker("cluster/ns/pool", name=name)
    assert parse_marker(with_marker("Claimed by worker 'w'.", marker)) == marker


def test_a_marker_without_a_name_is_parsed() -> None:
    assert parse_marker("Claimed. [deployctl me]") == ClaimMarker("me")
