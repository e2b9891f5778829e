"""`deployctl worker` as a process: start, probes, and end."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import until
from tests.support.worker_harness import WorkerProcess

pytestmark = pytest.mark.integration


@pytest.fixture
def pool() -> str:
    return f"pool-{uuid.uuid4().hex[:8]}"


def faults(worker: WorkerProcess) -> dict[str, str]:
    status, body = worker.page("/ready")
    found: dict[str, str] = json.loads(body).get("faults", {}) if status == 503 else {}
    return found


def test_starts_with_arguments_of_chart_and_stops_on_sigterm_with_sigint_ignored(
    server: Server, tmp_path: Path, pool: str
) -> None:
    args = f"--type process --pool {pool} --install-policy prompt --limit 3 --name w"
    with ExitStack() as stack:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGINT, previous)
        env = {"PREFECT_API_URL": server.api_url}
        worker = stack.enter_context(WorkerProcess(tmp_path, env, *args.split()))
        worker.await_entry("worker.started")
        until(lambda: worker.page("/ready")[0] == 200, lambda: worker.output)
        assert worker.page("/health") == (200, '{"message": "OK"}')
        assert f'deployctl_worker_up{{pool="{pool}"}} 1.0' in worker.page("/metrics")[1]
        assert worker.stop() == 0
    assert worker.entries("worker.stopped")


def test_server_outage_makes_worker_unready_only(
    prefect3: Server, proxy: Callable[[Server], Proxy], tmp_path: Path, pool: str
) -> None:
    server_proxy = proxy(prefect3)
    env = {"PREFECT_API_URL": server_proxy.api_url, "PREFECT_CLIENT_MAX_RETRIES": "0"}
    with WorkerProcess(tmp_path, env, "--type", "process", "--pool", pool) as worker:
        worker.await_entry("worker.started")
        until(lambda: worker.page("/ready")[0] == 200, lambda: worker.output)
        server_proxy.answer(500, times=None)
        until(lambda: {"poll", "heartbeat"} <= faults(worker).keys(), lambda: worker.output)
        assert worker.page("/health")[0] == 200
        server_proxy.clear()
        until(lambda: worker.page("/ready")[0] == 200, lambda: worker.output)
        assert worker.is_alive


@pytest.mark.parametrize("sync", [True, False])
def test_base_job_template_updates_an_existing_pool(
    server: Server, tmp_path: Path, pool: str, sync: bool
) -> None:
    own, template = (
        {"job_configuration": {"command": text}, "variables": {"properties": {}}}
        for text in ("own", "from the file")
    )
    file = tmp_path / "template.json"
    file.write_text(json.dumps(template))
    env = {"PREFECT_API_URL": server.api_url}
    option = "--sync-base-job-template" if sync else "--no-sync-base-job-template"
    with Api(server.api_url) as api:
        api.pool(pool, template=own)
        for updated in (sync, False):
            args = ("--pool", pool, "--run-once", "--base-job-template", str(file), option)
            with WorkerProcess(tmp_path, env, *args) as worker:
                assert worker.wait() == 0, worker.output
            assert bool(worker.entries("pool.template_updated")) is updated
            stored = api.call("GET", f"/work_pools/{pool}")["base_job_template"]
            assert stored == (template if sync else own)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--work-queue", "nope"], "DC603", "has no queue 'nope'"),
        (["--type", "kubernetes"], "DC603", "is of type 'process', not 'kubernetes'"),
        (["--runtime", "docker"], "DC603", "cannot run in 'docker'"),
    ],
)
def test_permanent_error_ends_the_start(
    prefect3: Server, tmp_path: Path, pool: str, args: list[str], code: str, message: str
) -> None:
    env = {"PREFECT_API_URL": prefect3.api_url}
    with WorkerProcess(tmp_path, env, "--type", "process", "--pool", pool, "--run-once") as maker:
        assert maker.wait() == 0
    with WorkerProcess(tmp_path, env, "--pool", pool, *args) as worker:
        assert worker.wait() == 1
    line = worker.entries("worker.failed")[-1]
    assert line["facts"]["code"] == code
    assert message in line["message"]


def test_takes_up_and_releases_pools_of_a_pattern(
    server: Server, tmp_path: Path, pool: str
) -> None:
    with Api(server.api_url) as api, ExitStack() as stack:

        def workers(name: str) -> list[str]:
            found = api.call("POST", f"/work_pools/{pool}-{name}/workers/filter", {})
            return [each["name"] for each in found]

        for name, type_ in (("a", "process"), ("push", "ecs:push")):
            api.pool(f"{pool}-{name}", type_)
        args = [
            "--pool",
            f"{pool}-*",
            "--pool",
            f"exact-{pool}",
            "--type",
            "process",
            "--name",
            "w",
        ]
        env = {"PREFECT_API_URL": server.api_url}
        worker = stack.enter_context(WorkerProcess(tmp_path, env, *args))
        until(lambda: workers("a") == ["w"], lambda: worker.output)
        worker.await_entry("pool.skipped", pool=f"{pool}-push")
        worker.await_entry("worker.started", pool=f"exact-{pool}")
        api.pool(f"{pool}-b")
        until(lambda: workers("b") == ["w"], lambda: worker.output)
        until(lambda: worker.page("/ready")[0] == 200, lambda: worker.output)
        metrics = worker.page("/metrics")[1]
        for name in (f"{pool}-a", f"{pool}-b", f"exact-{pool}"):
            assert f'deployctl_worker_ready{{pool="{name}"}} 1.0' in metrics
        api.call("DELETE", f"/work_pools/{pool}-a")
        worker.await_entry("pool.released", pool=f"{pool}-a")
        assert worker.stop() == 0
    assert len(worker.entries("worker.stopped")) == 1


def test_an_error_of_one_of_several_pools_names_it(
    prefect3: Server, tmp_path: Path, pool: str
) -> None:
    with Api(prefect3.api_url) as api:
        api.pool(pool)
        api.pool(f"{pool}-push", "ecs:push")
    env = {"PREFECT_API_URL": prefect3.api_url}
    with WorkerProcess(tmp_path, env, "--pool", pool, "--pool", f"{pool}-push") as worker:
        assert worker.wait() == 1
    line = worker.entries("worker.failed")[-1]
    assert line["facts"]["code"] == "DC603"
    assert f"'{pool}-push' is of type 'ecs:push'" in line["message"]
