"""`make soak`: run hundreds of flow runs while workers die and both APIs fail, on both majors.

python -m scripts.soak --runs 500 --replicas 3 --server postgres --seed 7 --prefect 3.9.1
"""

from __future__ import annotations

import argparse
import random
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.support.api import Api
from tests.support.cluster.control_plane import ControlPlane
from tests.support.cluster.proxy import KubeProxy
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3, running
from tests.support.soak import QUIET, soak
from tests.support.soak_figures import Figures, Plan
from tests.support.worker_harness import WorkerHarness

DATABASES = ("sqlite", "postgres")
_HEAD = """\
| Prefect | replicas | runs | Jobs | workers killed | faults | lost | run twice | most Jobs \
| in all | requests per run | memory | time |
|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Run the soak test, print its figures, and exit with 1 if any check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500, metavar="N", help="Number of runs.")
    parser.add_argument("--replicas", type=int, default=2, metavar="N", help="Number of workers.")
    parser.add_argument("--limit", type=int, default=8, metavar="N", help="--limit of each worker.")
    parser.add_argument("--flow-seconds", type=float, default=1.5, help="Longest time of a flow.")
    parser.add_argument("--timeout", type=float, default=1800.0, help="Seconds until all ended.")
    parser.add_argument("--server", action="append", choices=DATABASES, help="Its database.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--prefect", action="append", choices=[PREFECT_3, PREFECT_2])
    options = parser.parse_args()
    plan = Plan(
        options.runs,
        options.seed,
        options.replicas,
        limit=options.limit,
        flow_seconds=options.flow_seconds,
        timeout=options.timeout,
    )
    print(f"seed {plan.seed}", flush=True)
    passed, rows = True, [_HEAD]
    for version in options.prefect or [PREFECT_3, PREFECT_2]:
        for database in options.server or ["sqlite"]:
            figures = _on(version, database, plan)
            print(figures, flush=True)
            passed = passed and not figures.violations
            rows.append(figures.table_row(f"{version}, {database}"))
    print(*rows, sep="\n")
    raise SystemExit(0 if passed else 1)


def _on(version: str, database: str, plan: Plan) -> Figures:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(
            running(version, scheduler=False, env=QUIET, database=database)
        )
        plane = stack.enter_context(ControlPlane())
        namespace = stack.enter_context(plane.namespace())
        kube_proxy = KubeProxy(plane.admin, folder / "kubeconfig", namespace)
        api = stack.enter_context(Api(server.api_url))
        proxy = stack.enter_context(Proxy(server.api_url))
        stack.enter_context(kube_proxy)
        return soak(WorkerHarness(api, proxy, kube_proxy, plane.admin, namespace, folder), plan)


if __name__ == "__main__":
    main()
