"""A small soak test for the suite; `make soak` runs the large one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import FreshServer
from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.api import Api
from tests.support.cluster.cluster import Cluster
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3
from tests.support.soak import QUIET, soak
from tests.support.soak_figures import Plan
from tests.support.worker_harness import WorkerHarness

pytestmark = pytest.mark.timeout(900)

PLAN = Plan(
    runs=25, seed=4, limit=5, fault_interval=(0.05, 0.5), kill_interval=(2.5, 6.0), timeout=600.0
)


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_no_run_is_lost_or_doubled_whatever_fails(
    version: str,
    fresh_server: FreshServer,
    control_plane: Cluster,
    namespace: str,
    kube_proxy: MakeKubeProxy,
    tmp_path: Path,
) -> None:
    server = fresh_server(version, scheduler=False, env=QUIET)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        harness = WorkerHarness(api, proxy, kube_proxy(), control_plane.admin, namespace, tmp_path)
        figures = soak(harness, PLAN)
    assert not figures.violations, str(figures)
    assert figures.jobs == figures.attempts == figures.starts
    assert figures.kills
    assert figures.faults.total() > PLAN.runs
