"""Around the deployments: pools, steps, several files, failures, races and signals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.project import write_project
from tests.support.project_harness import ProjectHarness, entry, errors
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3
from tests.support.waiting import PATIENCE, until


def test_a_missing_work_pool_is_an_error_before_anything_is_written(site: ProjectHarness) -> None:
    site.write([entry(work_pool={"name": "pol"}), entry(name="ok")])
    said = site.deploy(code=1)
    (problem,) = errors(said)
    assert "'pol'" in problem["message"]
    assert "pool" in problem["help"]
    assert problem["span"]["line"] == 1
    assert site.proxy.writes == []


def test_create_pools_makes_the_missing_pool(site: ProjectHarness) -> None:
    site.write(
        [entry(work_pool={"name": "new", "job_variables": {"image": "x", "env": {"A": "b"}}})]
    )
    site.deploy("--create-pools")
    pool = site.api.call("GET", "/work_pools/new")
    assert pool["type"] == "kubernetes"
    assert "image" in pool["base_job_template"]["variables"]["properties"]
    assert site.ops() == {}


def test_a_deployment_without_job_variables_is_updated_where_its_pool_has_a_template(
    site: ProjectHarness,
) -> None:
    """2.20 checks the job variables of every update that names a pool, also where it has none."""
    site.api.pool("templated", "kubernetes", base_job_template("kubernetes"))
    for description in ("first", "second"):
        site.write([entry(work_pool={"name": "templated"}, description=description)])
        site.deploy()
    assert site.live()["description"] == "second"


def test_declared_pools_and_queues_come_first_and_are_kept(site: ProjectHarness) -> None:
    pools = [
        {
            "name": "declared",
            "type": "process",
            "description": "ours",
            "concurrency_limit": 5,
            "queues": [{"name": "default", "priority": 3}, {"name": "fast", "priority": 1}],
        }
    ]
    site.write([entry(work_pool={"name": "declared", "work_queue_name": "fast"})], work_pools=pools)
    site.deploy()
    pool = site.api.call("GET", "/work_pools/declared")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 5)
    queues = site.api.call("POST", "/work_pools/declared/queues/filter", {})
    assert {q["name"]: q["priority"] for q in queues} == {"default": 3, "fast": 1}
    assert site.ops() == {}


def test_one_failure_stops_nothing_else_and_the_summary_says_what_was_not_done(
    site: ProjectHarness,
) -> None:
    site.write([entry(), entry(name="weekly")])
    site.proxy.clear()
    site.proxy.answer(422, method="POST", path="/deployments/$", times=1, body={"detail": "no"})
    ended = site.cli(
        "deploy", "--all", "--output", "json", cwd=site.folder, api_url=site.proxy.api_url
    )
    assert ended.code == 1
    said = json.loads(ended.stdout)
    assert sorted(r["status"] for r in said["results"] if r["kind"] == "deployment") == [
        "applied",
        "failed",
    ]
    assert site.ops() == {"create": 1}
    site.deploy()
    assert site.ops() == {}


def test_an_update_carries_all_declared_fields_so_that_a_race_leaves_no_mixture(
    site: ProjectHarness, cli: Cli
) -> None:
    site.write([entry(tags=["a"], description="a")])
    site.deploy()
    site.write([entry(tags=["b"], description="b")])
    site.proxy.clear()
    delayed = site.proxy.delay(PATIENCE, method="PATCH", path="/deployments/")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(cli, "deploy", "--all", cwd=site.folder, api_url=site.proxy.api_url)
        until(lambda: site.proxy.seen("PATCH") or slow.done())
        site.api.update("hello", "daily", tags=["c"], description="c")
        delayed.set()
        assert slow.result().code == 0
    live = site.live()
    assert (live["tags"], live["description"]) == (["b"], "b")


def test_two_deploys_at_once_leave_one_version_of_each_and_both_on_record(
    site: ProjectHarness, cli: Cli, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = {text: tmp_path_factory.mktemp(text) for text in ("one", "two")}
    for text, folder in folders.items():
        names = ["shared", text]
        fields = {"tags": [text], "description": text}
        file = {"name": "site", "deployments": [entry(name=name, **fields) for name in names]}
        write_project(folder, json.dumps(file))
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(cli, "deploy", "--all", cwd=folder, api_url=site.api_url)
            for folder in folders.values()
        ]
        assert all(run.result().code in (0, 1) for run in runs)
    shared = site.live("shared")
    assert (shared["tags"], shared["description"]) in [(["one"], "one"), (["two"], "two")]
    record = site.api.call("GET", "/artifacts/deployctl-site/latest")["data"]["items"]
    on_record = {key[1] for key, _ in record["deployment"]}
    assert on_record == {"shared", "one", "two"}


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_what_is_under_way_and_says_what_is_not_done(
    site: ProjectHarness, sent: signal.Signals, code: int
) -> None:
    site.write([entry(name=f"d{n}") for n in range(30)])
    site.proxy.clear()
    site.proxy.delay(1.0, method="POST", path="/deployments/$", times=None)
    program = Path(sys.executable).with_name("deployctl")
    env = isolated(site.folder / "home", PREFECT_API_URL=site.proxy.api_url)
    with subprocess.Popen(
        [program, "deploy", "--all", "--concurrency", "2"],
        cwd=site.folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        until(lambda: len(site.proxy.seen("POST", "/deployments/$")) >= 3)
        running.send_signal(sent)
        said, complaints = running.communicate(timeout=PATIENCE)
    assert running.returncode == code, said + complaints
    assert "not done" in said
    assert "Traceback" not in complaints
    there = site.api.call("POST", "/deployments/filter", {})
    assert 1 <= len(there) < 30
    assert said.count("created") == len(there) + 1  # the summary says it once more
    site.deploy()
    assert site.ops() == {}


def test_what_cannot_be_trusted_is_an_error_before_anything_is_written(
    site: ProjectHarness,
) -> None:
    site.write([entry(schedules=[{"corn": "0 1 * * *"}])])
    said = site.deploy(code=1)
    assert said["diagnostics"][0]["code"] == "DC120"
    assert site.proxy.writes == []


def test_other_entries_do_not_stand_in_the_way_of_the_one_that_is_meant(
    site: ProjectHarness,
) -> None:
    site.write(
        [{"name": "broken"}, entry(name="prod", tags=["{{ $ONLY_IN_PROD }}"]), entry(name="ok")]
    )
    said = site.run("deploy", "-n", "ok")
    assert said["diagnostics"] == []
    site.deploy(code=1)


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(site: ProjectHarness) -> None:
    site.write([entry()])
    said = site.run("plan", "--pool", "nope", code=1)
    (problem,) = errors(said)
    assert (problem["code"], problem["span"]) == ("DC510", None)


def test_two_files_are_deployed_in_order_and_share_pools(site: ProjectHarness) -> None:
    site.write([entry()], work_pools=[{"name": "own", "type": "process"}])
    second = {"name": "second", "deployments": [entry(name="b", work_pool={"name": "own"})]}
    (site.folder / "b.yaml").write_text(json.dumps(second))
    files = ("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml")
    site.deploy(*files)
    assert site.live("b")["work_pool_name"] == "own"
    said = site.run("plan", "--all", *files)
    assert said["summary"]["none"] == len(said["changes"]) == 3


def test_the_same_deployment_in_two_files_is_an_error(site: ProjectHarness) -> None:
    site.write([entry()])
    (site.folder / "b.yaml").write_text(json.dumps({"deployments": [entry()]}))
    said = site.deploy("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml", code=1)
    assert [d["code"] for d in errors(said)] == ["DC129"]


def test_a_declared_pool_of_another_type_is_an_error_before_anything_is_written(
    site: ProjectHarness,
) -> None:
    site.write([entry()], work_pools=[{"name": "pool", "type": "kubernetes"}])
    said = site.deploy(code=1)
    assert [d["code"] for d in errors(said)] == ["DC515"]
    assert site.proxy.writes == []


def test_steps_run_once_and_their_outputs_reach_every_deployment(site: ProjectHarness) -> None:
    script = "sh -c 'echo ran >> count; echo out'"
    step = {"prefect.deployments.steps.run_shell_script": {"id": "say", "script": script}}
    tagged = {"tags": ["{{ say.stdout }}"]}
    site.write([entry(**tagged), entry(name="weekly", **tagged)], build=[step])
    plan = site.run("plan", "--all")
    assert "unknown" in json.dumps(plan["changes"])
    assert not (site.folder / "count").exists()
    site.deploy()
    assert (site.folder / "count").read_text() == "ran\n"
    assert site.live()["tags"] == site.live("weekly")["tags"] == ["out"]
    site.deploy()
    assert site.proxy.writes == []


def test_a_failing_step_writes_nothing_and_names_the_deployment(site: ProjectHarness) -> None:
    step = {"prefect.deployments.steps.run_shell_script": {"script": "false"}}
    site.write([entry(build=[step])])
    said = site.deploy(code=1)
    assert "hello/daily" in said["diagnostics"][0]["message"]
    assert site.proxy.writes == []
    site.deploy("--skip-build")


@pytest.mark.parametrize("version", [PREFECT_3, PREFECT_2])
def test_a_server_that_is_killed_and_comes_back_is_made_true_by_the_next_deploy(
    version: str, fresh_server: FreshServer, cli: Cli, tmp_path: Path
) -> None:
    server = fresh_server(version)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        proxy.delay(1.0, method="POST", path="/deployments/$", times=None)
        file = {"name": "site", "deployments": [entry(name=f"d{n}") for n in range(20)]}
        write_project(tmp_path, json.dumps(file))
        impatient = {"PREFECT_CLIENT_MAX_RETRIES": "1"}
        with ThreadPoolExecutor() as pool:
            command = ("deploy", "--all", "--concurrency", "2")
            first = pool.submit(cli, *command, cwd=tmp_path, api_url=proxy.api_url, **impatient)
            until(lambda: api.call("POST", "/deployments/filter", {}) or first.done())
            server.kill()
            proxy.stop_after(0)
            ended = first.result()
        assert ended.code == 1
        assert "failed" in ended.stdout
        assert "Traceback" not in ended.stderr
        server.start()
        assert cli("deploy", "--all", cwd=tmp_path, api_url=server.api_url).code == 0
        plan = ("plan", "--all", "--detailed-exitcode")
        assert cli(*plan, cwd=tmp_path, api_url=server.api_url).code == 0
