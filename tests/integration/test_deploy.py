"""`deployctl plan` and `deploy` against both servers, as their users run them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Cli, FreshServer
from tests.support.api import Api
from tests.support.environment import isolated
from tests.support.project import write_project
from tests.support.proxy import Proxy
from tests.support.servers import PREFECT_2, PREFECT_3


@dataclass
class Site:
    """A project folder, an empty server with a pool `pool`, and a proxy that counts."""

    folder: Path
    api: Api
    proxy: Proxy
    cli: Cli
    major: int
    api_url: str
    """The server without the proxy."""

    def write(self, deployments: Any, **top: Any) -> None:
        """Makes this the project's prefect.yaml; JSON is YAML."""
        write_project(self.folder, json.dumps({"name": "site", **top, "deployments": deployments}))

    def run(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Runs deployctl through the proxy and gives what it says in JSON."""
        self.proxy.clear()
        ended = self.cli(
            *args, "--output", "json", cwd=self.folder, api_url=self.proxy.api_url, **(env or {})
        )
        assert ended.code == code, f"exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

    def deploy(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        return self.run("deploy", "--all", *args, code=code, env=env)

    def ops(self) -> dict[str, int]:
        """What a plan would do: operation → number of roots."""
        summary = self.run("plan", "--all")["summary"]
        return {op: count for op, count in summary.items() if count and op != "none"}

    def live(self, name: str = "daily") -> Any:
        return self.api.deployment("hello", name)


def entry(**fields: Any) -> dict[str, Any]:
    """A deployment of the flow `hello` on the pool `pool`."""
    base = {"name": "daily", "entrypoint": "flows.py:hello", "work_pool": {"name": "pool"}}
    return {**base, **fields}


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def site(
    request: pytest.FixtureRequest, fresh_server: FreshServer, cli: Cli, tmp_path: Path
) -> Iterator[Site]:
    server = fresh_server(request.param)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        yield Site(tmp_path, api, proxy, cli, server.major, server.api_url)


def errors(said: Any) -> list[Any]:
    return [d for d in said["diagnostics"] if d["severity"] == "error"]


def job_variables(live: Any) -> Any:
    return live.get("job_variables") or live.get("infra_overrides")


def test_a_deploy_creates_what_the_file_says(site: Site) -> None:
    site.write(
        [
            entry(
                tags=["a", "b"],
                description="Every day.",
                version="7",
                parameters={"times": 3},
                schedules=[{"cron": "0 7 * * *", "timezone": "Asia/Taipei"}],
                work_pool={"name": "pool", "work_queue_name": "fast", "job_variables": {"x": "y"}},
            )
        ]
    )
    said = site.deploy()
    assert [(r["name"], r["status"]) for r in said["results"] if r["kind"] == "deployment"] == [
        ("hello/daily", "applied")
    ]
    live = site.live()
    assert live["tags"] == ["a", "b"]
    assert live["description"] == "Every day."
    assert live["version"] == "7"
    assert live["parameters"] == {"times": 3}
    assert live["entrypoint"] == "flows.py:hello"
    assert (live["work_pool_name"], live["work_queue_name"]) == ("pool", "fast")
    assert job_variables(live) == {"x": "y"}
    assert live["schedules"][0]["schedule"] == {
        "cron": "0 7 * * *",
        "timezone": "Asia/Taipei",
        "day_or": True,
    }
    assert set(live["parameter_openapi_schema"]["properties"]) == {"name", "times"}


def test_the_same_deploy_again_writes_nothing_and_keeps_scheduled_runs(site: Site) -> None:
    site.write([entry(schedules=[{"cron": "0 7 * * *"}], tags=["a"])])
    site.deploy()
    runs = wait_for_runs(site)
    before = site.live()
    said = site.deploy()
    assert site.proxy.writes == []
    assert said["summary"]["none"] == len(said["changes"])
    assert site.live()["schedules"] == before["schedules"]
    assert set(runs) <= set(site.api.scheduled_runs())


def wait_for_runs(site: Site) -> list[str]:
    """The runs that the scheduler makes within a minute of a deployment's creation."""
    for _ in range(600):
        if runs := site.api.scheduled_runs():
            return runs
        time.sleep(0.1)
    pytest.fail("the server scheduled nothing")


def test_100_unchanged_deployments_take_at_most_six_requests(site: Site) -> None:
    site.write([entry(name=f"d{n}") for n in range(100)])
    site.deploy()
    site.deploy()
    assert len(site.proxy.exchanges) <= 6
    assert site.proxy.writes == []


CHANGES = [
    pytest.param({"tags": ["b"]}, {"tags": ["a"]}, id="tags"),
    pytest.param({"description": "new"}, {"description": "old"}, id="description"),
    pytest.param({"version": "2"}, {"version": "1"}, id="version"),
    pytest.param({"parameters": {"times": 2}}, {"parameters": {"times": 1}}, id="parameters"),
    pytest.param({"paused": True}, {"paused": False}, id="paused"),
    pytest.param(
        {"enforce_parameter_schema": True}, {"enforce_parameter_schema": False}, id="enforce"
    ),
    pytest.param(
        {"schedules": [{"cron": "0 8 * * *"}]}, {"schedules": [{"cron": "0 7 * * *"}]}, id="cron"
    ),
    pytest.param({"schedules": []}, {"schedules": [{"interval": 3600}]}, id="schedules"),
    pytest.param(
        {"work_pool": {"name": "pool", "work_queue_name": "slow"}},
        {"work_pool": {"name": "pool", "work_queue_name": "fast"}},
        id="queue",
    ),
    pytest.param(
        {"work_pool": {"name": "pool", "job_variables": {"x": "2"}}},
        {"work_pool": {"name": "pool", "job_variables": {"x": "1", "y": "1"}}},
        id="job variables",
    ),
    pytest.param({"entrypoint": "./flows.py:hello"}, {}, id="entrypoint"),
    pytest.param(
        {"pull": []},
        {"pull": [{"prefect.deployments.steps.git_clone": {"repository": "r"}}]},
        id="pull",
    ),
    pytest.param({"concurrency_limit": 2}, {"concurrency_limit": 1}, id="concurrency"),
]

NOT_ON_2 = {"concurrency_limit"}


@pytest.mark.parametrize(("after", "before"), CHANGES)
def test_a_changed_field_is_updated_and_then_nothing_is_left_to_do(
    site: Site, after: dict[str, Any], before: dict[str, Any]
) -> None:
    if site.major == 2 and NOT_ON_2 & after.keys():
        pytest.skip("2.20 has no such field")
    site.write([entry(**before)])
    site.deploy()
    site.write([entry(**after)])
    assert site.ops() == {"update": 1}
    site.deploy()
    assert site.ops() == {}


@pytest.mark.parametrize(
    ("field", "value", "default"),
    [
        ("tags", ["a"], []),
        ("description", "d", None),
        ("parameters", {"times": 2}, {}),
        ("paused", True, False),
        ("schedules", [{"cron": "0 7 * * *"}], []),
        ("work_pool", {"name": "pool", "work_queue_name": "q"}, None),
        ("work_pool", {"name": "pool", "job_variables": {"x": "y"}}, None),
        ("enforce_parameter_schema", None, None),
        ("concurrency_limit", 3, None),
    ],
)
def test_a_field_that_is_gone_from_the_file_goes_back_to_its_default(
    site: Site, field: str, value: Any, default: Any
) -> None:
    if site.major == 2 and field in NOT_ON_2:
        pytest.skip("2.20 has no such field")
    if field == "enforce_parameter_schema":
        value, default = site.major == 2, site.major == 3
    site.write([entry(**{field: value})])
    site.deploy()
    site.write([entry()])
    assert site.ops() == {"update": 1}
    site.deploy()
    live = site.live()
    live["concurrency_limit"] = live.get("global_concurrency_limit")
    live["work_pool"] = job_variables(live) or {"default": None}[live["work_queue_name"]]
    assert live[field] == default
    assert site.ops() == {}


def test_what_the_file_never_said_belongs_to_the_ui(site: Site) -> None:
    site.write([entry()])
    site.deploy()
    site.api.update("hello", "daily", paused=True, tags=["ui"], parameters={"times": 9})
    site.write([entry(description="changed")])
    site.deploy()
    live = site.live()
    assert (live["paused"], live["tags"], live["parameters"]) == (True, ["ui"], {"times": 9})


def test_a_schedule_that_was_switched_off_in_the_ui_stays_off(site: Site) -> None:
    site.write([entry(schedules=[{"cron": "0 7 * * *"}])])
    site.deploy()
    live = site.live()
    path = f"/deployments/{live['id']}/schedules/{live['schedules'][0]['id']}"
    site.api.call("PATCH", path, {"active": False})
    site.write([entry(schedules=[{"cron": "0 8 * * *"}], description="changed")])
    site.deploy()
    (schedule,) = site.live()["schedules"]
    assert (schedule["active"], schedule["schedule"]["cron"]) == (False, "0 8 * * *")
    assert schedule["id"] == live["schedules"][0]["id"]


def test_a_plan_writes_nothing_and_its_exit_code_tells_whether_there_are_changes(
    site: Site,
) -> None:
    site.write([entry()])
    site.run("plan", "--all", "--detailed-exitcode", code=2)
    assert site.proxy.writes == []
    site.deploy()
    site.run("plan", "--all", "--detailed-exitcode", code=0)


def test_a_missing_work_pool_is_an_error_before_anything_is_written(site: Site) -> None:
    site.write([entry(work_pool={"name": "pol"}), entry(name="ok")])
    said = site.deploy(code=1)
    (problem,) = errors(said)
    assert "'pol'" in problem["message"]
    assert "pool" in problem["help"]
    assert problem["span"]["line"] == 1
    assert site.proxy.writes == []


def test_create_pools_makes_the_missing_pool(site: Site) -> None:
    site.write(
        [entry(work_pool={"name": "new", "job_variables": {"image": "x", "env": {"A": "b"}}})]
    )
    site.deploy("--create-pools")
    pool = site.api.call("GET", "/work_pools/new")
    assert pool["type"] == "kubernetes"
    assert "image" in pool["base_job_template"]["variables"]["properties"]
    assert site.ops() == {}


def test_declared_pools_and_queues_come_first_and_are_kept(site: Site) -> None:
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


TRIGGER = {
    "type": "event",
    "expect": ["prefect.flow-run.Completed"],
    "match_related": {"prefect.resource.name": "upstream"},
    "parameters": {"name": "{{ event.resource.id }}"},
}


def test_triggers_become_automations_that_are_updated_in_place(site: Site) -> None:
    if site.major == 2:
        pytest.skip("2.20 has its automations switched off")
    site.write([entry(triggers=[TRIGGER])])
    site.deploy()
    (made,) = site.api.automations()
    assert made["name"] == "daily__automation_1"
    assert made["actions"][0]["deployment_id"] == site.live()["id"]
    assert site.ops() == {}
    site.api.call("PATCH", f"/automations/{made['id']}", {"enabled": False})
    site.write([entry(triggers=[{**TRIGGER, "threshold": 3}])])
    site.deploy()
    (updated,) = site.api.automations()
    assert updated["id"] == made["id"]
    assert (updated["trigger"]["threshold"], updated["enabled"]) == (3, False)
    assert site.ops() == {}
    site.write([entry()])
    site.deploy()
    assert site.api.automations() == []


def test_triggers_on_a_2_20_server_with_automations_switched_on(
    fresh_server: FreshServer, cli: Cli, tmp_path: Path
) -> None:
    switched_on = {
        "PREFECT_EXPERIMENTAL_EVENTS": "true",
        "PREFECT_API_SERVICES_TRIGGERS_ENABLED": "true",
    }
    server = fresh_server(PREFECT_2, env=switched_on)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        site = Site(tmp_path, api, proxy, cli, 2, server.api_url)
        site.write([entry(triggers=[TRIGGER])])
        said = site.deploy()
        assert said["diagnostics"] == []
        assert [each["name"] for each in api.automations()] == ["daily__automation_1"]
        assert site.ops() == {}


def test_triggers_on_a_server_without_automations_are_an_error_before_any_write(
    site: Site,
) -> None:
    if site.major == 3:
        pytest.skip("3.x has automations")
    site.write([entry(triggers=[TRIGGER])])
    said = site.deploy(code=1)
    assert any("automations" in d["message"] for d in said["diagnostics"])
    assert site.proxy.writes == []


def test_a_field_that_the_server_does_not_know_is_left_out_with_a_warning(site: Site) -> None:
    site.write([entry(concurrency_limit=3, schedules=[{"cron": "0 7 * * *", "slug": "s"}])])
    said = site.deploy()
    warnings = [d["message"] for d in said["diagnostics"] if d["severity"] == "warning"]
    assert any("concurrency_limit" in text for text in warnings) is (site.major == 2)
    assert site.ops() == {}


def test_a_version_from_git_goes_along_with_changes_and_is_never_one(site: Site) -> None:
    site.write([entry()])
    sha = {"GITHUB_SHA": "a" * 40, "GITHUB_REF_NAME": "main", "GITHUB_REPOSITORY": "o/r"}
    site.deploy(env=sha)
    assert site.live()["version"] == "aaaaaaaa"
    site.deploy(env={**sha, "GITHUB_SHA": "b" * 40})
    assert site.proxy.writes == []
    site.write([entry(tags=["x"])])
    site.deploy(env={**sha, "GITHUB_SHA": "c" * 40})
    assert site.live()["version"] == "cccccccc"


def test_the_record_holds_names_of_fields_and_no_values(site: Site) -> None:
    site.write([entry(parameters={"name": "s3cr3t"}, description="s3cr3t")])
    site.deploy()
    record = site.api.call("GET", "/artifacts/deployctl-site/latest")
    assert "parameters" in json.dumps(record["data"])
    assert "s3cr3t" not in json.dumps(record)


def test_one_failure_stops_nothing_else_and_the_summary_says_what_was_not_done(
    site: Site,
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
    site: Site,
) -> None:
    site.write([entry(tags=["a"], description="a")])
    site.deploy()
    site.write([entry(tags=["b"], description="b")])
    site.proxy.clear()
    site.proxy.delay(1.0, method="PATCH", path="/deployments/")
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(site.cli, "deploy", "--all", cwd=site.folder, api_url=site.proxy.api_url)
        while not site.proxy.seen("PATCH"):
            time.sleep(0.02)
        site.api.update("hello", "daily", tags=["c"], description="c")
        assert slow.result().code == 0
    live = site.live()
    assert (live["tags"], live["description"]) == (["b"], "b")


def test_two_deploys_at_once_leave_one_version_of_each_and_both_on_record(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = {text: tmp_path_factory.mktemp(text) for text in ("one", "two")}
    for text, folder in folders.items():
        names = ["shared", text]
        fields = {"tags": [text], "description": text}
        file = {"name": "site", "deployments": [entry(name=name, **fields) for name in names]}
        write_project(folder, json.dumps(file))
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(site.cli, "deploy", "--all", cwd=folder, api_url=site.api_url)
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
    site: Site, sent: signal.Signals, code: int
) -> None:
    site.write([entry(name=f"d{n}") for n in range(30)])
    site.proxy.clear()
    site.proxy.delay(0.3, method="POST", path="/deployments/$", times=None)
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
        while len(site.proxy.seen("POST", "/deployments/$")) < 3:
            time.sleep(0.02)
        running.send_signal(sent)
        said, complaints = running.communicate(timeout=60)
    assert running.returncode == code, said + complaints
    assert "not done" in said
    assert "Traceback" not in complaints
    there = site.api.call("POST", "/deployments/filter", {})
    assert 1 <= len(there) < 30
    assert said.count("created") == len(there) + 1  # the summary says it once more
    site.deploy()
    assert site.ops() == {}


def test_what_cannot_be_trusted_is_an_error_before_anything_is_written(site: Site) -> None:
    site.write([entry(schedules=[{"corn": "0 1 * * *"}])])
    said = site.deploy(code=1)
    assert said["diagnostics"][0]["code"] == "DC120"
    assert site.proxy.writes == []


def test_other_entries_do_not_stand_in_the_way_of_the_one_that_is_meant(site: Site) -> None:
    site.write(
        [{"name": "broken"}, entry(name="prod", tags=["{{ $ONLY_IN_PROD }}"]), entry(name="ok")]
    )
    said = site.run("deploy", "-n", "ok")
    assert said["diagnostics"] == []
    site.deploy(code=1)


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(site: Site) -> None:
    site.write([entry()])
    said = site.run("plan", "--pool", "nope", code=1)
    (problem,) = errors(said)
    assert (problem["code"], problem["span"]) == ("DC510", None)


def test_two_files_are_deployed_in_order_and_share_pools(site: Site) -> None:
    site.write([entry()], work_pools=[{"name": "own", "type": "process"}])
    second = {"name": "second", "deployments": [entry(name="b", work_pool={"name": "own"})]}
    (site.folder / "b.yaml").write_text(json.dumps(second))
    files = ("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml")
    site.deploy(*files)
    assert site.live("b")["work_pool_name"] == "own"
    said = site.run("plan", "--all", *files)
    assert said["summary"]["none"] == len(said["changes"]) == 3


def test_the_same_deployment_in_two_files_is_an_error(site: Site) -> None:
    site.write([entry()])
    (site.folder / "b.yaml").write_text(json.dumps({"deployments": [entry()]}))
    said = site.deploy("--prefect-file", "prefect.yaml", "--prefect-file", "b.yaml", code=1)
    assert [d["code"] for d in errors(said)] == ["DC129"]


def test_a_declared_pool_of_another_type_is_an_error_before_anything_is_written(
    site: Site,
) -> None:
    site.write([entry()], work_pools=[{"name": "pool", "type": "kubernetes"}])
    said = site.deploy(code=1)
    assert [d["code"] for d in errors(said)] == ["DC515"]
    assert site.proxy.writes == []


def test_steps_run_once_and_their_outputs_reach_every_deployment(site: Site) -> None:
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


def test_a_failing_step_writes_nothing_and_names_the_deployment(site: Site) -> None:
    step = {"prefect.deployments.steps.run_shell_script": {"script": "false"}}
    site.write([entry(build=[step])])
    said = site.deploy(code=1)
    assert "hello/daily" in said["diagnostics"][0]["message"]
    assert site.proxy.writes == []
    site.deploy("--skip-build")
