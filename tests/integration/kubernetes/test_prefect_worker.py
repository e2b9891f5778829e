"""Prefect's worker on the cluster of the test rig, for comparison with ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.integration.kubernetes.conftest import MakeKubeProxy
from tests.support.api import Api
from tests.support.cluster.busy import BusyKubelet
from tests.support.cluster.cluster import Cluster
from tests.support.cluster.pods import unscheduled
from tests.support.prefect_cli import PrefectCli
from tests.support.project import write_project
from tests.support.servers import Server


def test_prefects_worker_creates_a_job(
    server: Server,
    prefect_cli: Callable[[Server], PrefectCli],
    control_plane: Cluster,
    kube_proxy: MakeKubeProxy,
    namespace: str,
    tmp_path: Path,
) -> None:
    through = kube_proxy()
    pool = f"real-{namespace}"
    variables = f"{{namespace: {namespace}, stream_output: false}}"  # no kubelet, no output
    folder = write_project(
        tmp_path / "project",
        f"""
        deployments:
          - name: {namespace}
            entrypoint: flows.py:hello
            work_pool: {{name: {pool}, job_variables: {variables}}}
        """,
    )
    prefect = prefect_cli(server)
    prefect.run("work-pool", "create", pool, "-t", "kubernetes", cwd=folder)
    with Api(server.api_url) as api:
        template = unscheduled(api.call("GET", f"/work_pools/{pool}")["base_job_template"])
        api.call("PATCH", f"/work_pools/{pool}", {"base_job_template": template})
    prefect.deploy(folder, "--all")
    prefect.run("deployment", "run", f"hello/{namespace}", cwd=folder)
    with BusyKubelet(control_plane.admin, namespace) as busy:
        ended = prefect.run(
            *("worker", "start", "--pool", pool, "--type", "kubernetes", "--run-once"),
            cwd=folder,
            KUBECONFIG=str(through.kubeconfig),
        )
    assert ended.code == 0, ended.stderr
    assert [e.path for e in through.seen("POST", "/jobs$")] == [
        f"/apis/batch/v1/namespaces/{namespace}/jobs"
    ]
    assert list(busy.ended.values()) == [0]
