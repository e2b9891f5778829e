"""Judgements of `deployctl doctor`, apart from what they read."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from deployctl.api.settings import Settings
from deployctl.app.doctor import examine
from deployctl.app.doctor.cluster_checks import (
    ClusterReading,
    NamespaceReading,
    context_check,
    namespace_checks,
    quota_check,
    rights_checks,
)
from deployctl.app.doctor.image_checks import Tool, buildx_check, engine_check
from deployctl.app.doctor.jobs import JobNeeds, job_needs
from deployctl.app.doctor.model import Area, Check, CheckStatus, Reading, ok, read_all
from deployctl.app.doctor.pool_checks import missing_pools, pool_checks, stuck_check
from deployctl.app.doctor.project_checks import ProjectFindings, examine_project
from deployctl.app.doctor.server_checks import clock_check, examine_server, server_failure
from deployctl.app.operating.status import PoolStatus, RunStatus, Status, StuckRun
from deployctl.cli.render.doctor import doctor, doctor_json
from deployctl.clients.docker import EngineUnreachable
from deployctl.clients.kubeconfig import ClusterConfigError
from deployctl.core import redact
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import (
    ApiError,
    DeployctlError,
    Interrupted,
    NotFound,
    ProgramError,
    ServerError,
    SettingsError,
    Unauthorized,
    Unreachable,
)
from deployctl.jobs import rbac
from deployctl.jobs.base_job_templates import base_job_template
from tests.support.project import write_project
from tests.unit.api.network import answer, scripted_session

FAILED, SKIPPED, OK = CheckStatus.FAILED, CheckStatus.SKIPPED, CheckStatus.OK
SETTINGS = Settings(api_url="http://prefect/api", api_key="pnu_secret_value")
BUILDS = ProjectFindings(builds=True, uses_buildx=True)


def statuses(checks: Any) -> dict[str, CheckStatus]:
    return {check.name: check.status for check in checks}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (Unauthorized("wrong key", status=401), "credentials"),
        (NotFound("no API", status=404), "address"),
        (Unreachable("its certificate is not trusted: unknown"), "certificate"),
        (Unreachable("nothing listens there"), "connection"),
        (ApiError("the server is Prefect 2.10.0, which is too old"), "version"),
        (ServerError("failed", status=500), "answers"),
        (SettingsError("no such profile"), "settings"),
    ],
)
def test_error_of_server_fails_the_check_that_it_means(error: DeployctlError, name: str) -> None:
    check = server_failure(error, SETTINGS)
    assert (check.name, check.status, check.cause) == (name, FAILED, error.message)


@pytest.mark.parametrize(
    ("offset", "cause"),
    [
        (9.0, ""),
        (-9.0, ""),
        (61.0, "the clock of the server is 61 s ahead of this machine's"),
        (-300.2, "the clock of the server is 300 s behind this machine's"),
    ],
)
def test_clock_skew(offset: float, cause: str) -> None:
    check = clock_check(Area.SERVER, "the server", offset)
    assert (check.status is FAILED) == bool(cause)
    assert not cause or check.cause == cause


def test_skew_is_read_from_the_answers_of_the_server() -> None:
    date = "Thu, 01 Jan 2015 00:00:00 GMT"
    client = scripted_session(answer(200, "3.9.1", Date=date), answer(200, [], Date=date))
    found = examine_server(client.session)
    assert found.answers
    (check,) = [each for each in found.checks if each.status is FAILED]
    assert check.name == "clock"
    assert "behind this machine's" in check.cause


def state(**fields: Any) -> PoolStatus:
    values = {"name": "p", "type": "kubernetes", "status": "READY", "paused": False}
    counts = {"concurrency_limit": None, "workers_online": 1, "active_runs": 0, "late_runs": 0}
    return PoolStatus(**{**values, **counts, **fields})


QUEUES = [{"name": "default", "is_paused": False}, {"name": "slow", "is_paused": True}]


@pytest.mark.parametrize(
    ("type_", "fields", "queues", "failures"),
    [
        ("kubernetes", {}, QUEUES[:1], []),
        ("process", {"workers_online": 0}, QUEUES[:1], ["p: workers"]),
        ("kubernetes", {"paused": True}, QUEUES, ["p: paused"]),
        ("kubernetes", {}, QUEUES, ["p: paused"]),
        ("prefect-agent", {"workers_online": 0}, [], ["p: type"]),
        ("ecs", {"workers_online": 0}, [], ["p: type"]),
        ("ecs", {}, [], []),
        ("ecs:push", {"workers_online": 0}, [], []),
        ("prefect:managed", {"workers_online": 0}, [], []),
    ],
)
def test_pool(type_: str, fields: dict[str, Any], queues: list[Any], failures: list[str]) -> None:
    checks = list(pool_checks({"name": "p", "type": type_}, state(**fields), queues))
    assert [check.name for check in checks if check.status is FAILED] == failures
    assert all(check.fix for check in checks if check.status is FAILED)


def test_agent_pool_says_how_to_move() -> None:
    (check,) = pool_checks({"name": "old", "type": "prefect-agent"}, state(), [])
    for line in ("work-pool create", "deploy --all", "worker --pool", "work-pool delete old"):
        assert f"deployctl {line}" in check.fix


def test_missing_pool_suggests_another() -> None:
    (check,) = missing_pools({"kub", "there"}, {"kube": {}, "there": {}})
    assert check.cause == "there is no work pool 'kub'"
    assert "Did you mean 'kube'?" in check.fix
    assert "deployctl work-pool create kub" in check.fix


def test_stuck_runs_of_a_faulty_pool_are_left_out() -> None:
    run = RunStatus("1", "late", "Late", None, None)
    status = Status((), (), (StuckRun(run, "f/d", "p", "no slot"),))
    assert stuck_check(status, ["q"]).status is OK
    check = stuck_check(status, ["p"])
    assert (check.status, check.cause) == (FAILED, "the run 'late' of 'f/d' is stuck (no slot)")


@pytest.mark.parametrize(
    ("project", "in_pod", "error", "status"),
    [
        (BUILDS, False, True, FAILED),
        (ProjectFindings(builds=True), False, True, SKIPPED),
        (BUILDS, True, True, SKIPPED),
        (ProjectFindings(), False, True, SKIPPED),
        (BUILDS, True, False, OK),
    ],
)
def test_engine_is_needed_only_where_images_are_built(
    project: ProjectFindings, in_pod: bool, error: bool, status: CheckStatus
) -> None:
    tool = Tool(error=EngineUnreachable("unix:///x", "gone")) if error else Tool("version 27")
    assert engine_check(Reading(tool), project, in_pod=in_pod).status is status


def test_buildx_is_needed_only_by_steps_that_use_it() -> None:
    missing = Reading(Tool(error=ProgramError("the docker command has no buildx plugin")))
    assert buildx_check(missing, ProjectFindings(builds=True)).status is SKIPPED
    check = buildx_check(missing, BUILDS)
    assert (check.status, check.cause) == (FAILED, "the docker command has no buildx plugin")
    assert buildx_check(Reading(Tool("v0.29.1")), BUILDS).status is OK
    assert buildx_check(Reading(), BUILDS).status is FAILED


def quota(hard: dict[str, str], **spec: Any) -> Any:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}


@pytest.mark.parametrize(
    ("quotas", "status"),
    [
        (None, SKIPPED),
        ([], OK),
        ([quota({"pods": "0"})], FAILED),
        ([quota({"count/pods": "0"})], FAILED),
        ([quota({"requests.cpu": "0m"})], FAILED),
        ([quota({"limits.memory": "0Gi"})], FAILED),
        ([quota({"pods": "10", "services": "0"})], OK),
        ([quota({"requests.cpu": "0.5"})], OK),
        ([quota({"pods": "0"}, scopes=["BestEffort"])], OK),
    ],
)
def test_quota_that_allows_nothing(quotas: Any, status: CheckStatus) -> None:
    assert quota_check("n", quotas).status is status


def test_missing_verbs_are_named_and_optional_rights_are_no_failure() -> None:
    jobs, secrets = rbac.JOBS[0], rbac.SECRETS[0]
    rights = {(jobs, verb): verb not in ("create", "delete") for verb in jobs.verbs}
    checks = list(rights_checks("n", (jobs, secrets), rights, "grant it"))
    assert [(check.status, check.fix) for check in checks] == [
        (FAILED, "grant it"),
        (SKIPPED, "grant it"),
    ]
    assert checks[0].cause == "this user may not create, delete jobs in the namespace 'n'"
    assert "optional: this user may not create, patch, delete, list secrets" in checks[1].cause


def test_every_rule_is_required_or_has_a_consequence() -> None:
    rules = {*rbac.IN_JOB_NAMESPACES, *rbac.IN_OWN_NAMESPACE, *rbac.IDENTITY}
    checks = list(rights_checks("n", sorted(rules, key=str), {}, ""))
    assert {check.name.removeprefix("n: ") for check in checks if check.status is FAILED} == {
        rule.resource for rule in rbac.JOBS
    }


def test_missing_namespace_is_the_only_failure_in_it() -> None:
    checks = list(namespace_checks(NamespaceReading("n", exists=False, rights={}), ""))
    assert [(check.name, check.status) for check in checks] == [("n: namespace", FAILED)]


def test_missing_account_and_pull_secret() -> None:
    rights = {(rule, verb): True for rule in rbac.IN_JOB_NAMESPACES for verb in rule.verbs}
    found = NamespaceReading("n", True, rights, None, {"sa": {}}, {"pull": False, "there": True})
    checks = list(namespace_checks(found, ""))
    assert [check.name for check in checks if check.status is FAILED] == [
        "n: service account sa",
        "n: image pull secret pull",
    ]
    unread = list(namespace_checks(NamespaceReading("n", True, rights, None, None, None), ""))
    assert FAILED not in statuses(unread).values()


def test_machine_without_a_kubeconfig_is_no_failure() -> None:
    error = ClusterConfigError("this is not a pod")
    assert context_check(ClusterReading(error=error, configured=False)).status is SKIPPED
    assert context_check(ClusterReading(error=error)).status is FAILED


def test_job_needs_are_those_of_the_rendered_template() -> None:
    template = base_job_template("kubernetes")
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["imagePullSecrets"] = [{"name": "pull"}, {"name": "{{ prefect.blocks.secret.x }}"}]
    pool = {"name": "p", "type": "kubernetes", "base_job_template": template}
    process = {"name": "q", "type": "process", "base_job_template": {}}
    own = {"work_pool_name": "p", "job_variables": {"namespace": "jobs", "image": "a:1"}}
    unknown = {"work_pool_name": "p", "job_variables": {"image": "{{ prefect.variables.i }}"}}
    needs = job_needs([pool, process], [own, unknown, own], {})
    assert needs == {
        JobNeeds("jobs", "a:1", pull_secrets=("pull",)),
        JobNeeds("", "", pull_secrets=("pull",)),
    }


def test_template_that_cannot_be_rendered_is_left_out() -> None:
    pools = [{"name": "p", "type": "kubernetes", "base_job_template": {"job_configuration": {}}}]
    assert job_needs(pools, [], {}) == set()


def test_project_names_pools_queues_and_images(tmp_path: Path) -> None:
    step = "prefect_docker.deployments.steps."
    build = {"image_name": "reg.io/{{ $TEAM }}/app", "build_backend": "buildx"}
    pool = {"name": "p", "work_queue_name": "q"}
    data = {
        "build": [{f"{step}build_docker_image": build}],
        "push": [{f"{step}push_docker_image": {"image_name": "reg.io/{{ $TEAM }}/app"}}],
        "deployments": [{"name": "d", "entrypoint": "flows.py:hello", "work_pool": pool}],
    }
    file = write_project(tmp_path, json.dumps(data)) / "prefect.yaml"
    found = examine_project(file, {"TEAM": "etl"}, "")
    assert found.checks == (ok(Area.PROJECT, "file", f"{file}: 1 deployment"),)
    assert found.pools == {"p"}
    assert found.queues == {("hello", "d"): ("p", "q")}
    assert found.pushes == ("reg.io/etl/app",)
    assert (found.builds, found.uses_buildx) == (True, True)


def test_project_with_errors_names_the_first(tmp_path: Path) -> None:
    data = {"deployments": [{"name": "d", "entrypoint": "none.py:hello"}]}
    file = write_project(tmp_path, json.dumps(data)) / "prefect.yaml"
    (check,) = examine_project(file, {}, "").checks
    assert check.status is FAILED
    assert "none.py" in check.cause
    assert "deployctl validate" in check.fix


def test_missing_file_is_skipped(tmp_path: Path) -> None:
    (check,) = examine_project(tmp_path / "prefect.yaml", {}, "").checks
    assert check.status is SKIPPED


def test_readings_are_made_at_once() -> None:
    both = threading.Barrier(2, timeout=60)
    found = read_all({"a": both.wait, "b": both.wait}, 60.0, CancellationToken())
    assert {reading.value for reading in found.values()} == {0, 1}


def test_reading_that_does_not_end_is_left_behind() -> None:
    over = threading.Event()
    try:
        found = read_all({"slow": over.wait}, 0.05, CancellationToken())
    finally:
        over.set()
    assert found == {"slow": Reading(None)}


def test_reading_ends_with_the_command() -> None:
    over, stop = threading.Event(), CancellationToken()
    stop.cancel()
    try:
        with pytest.raises(Interrupted):
            read_all({"slow": over.wait}, 60.0, stop)
    finally:
        over.set()


def test_defect_in_a_reading_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        read_all({"broken": lambda: 1 / 0}, 60.0, CancellationToken())


def test_dead_server_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path), "PREFECT_HOME": str(tmp_path), "PATH": ""}
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    what = examine.Examination(
        environ, tmp_path / "prefect.yaml", api_url="http://127.0.0.1:9/api", timeout=60
    )
    checks = examine.examine(what, CancellationToken())
    (only,) = [check for check in checks if check.status is FAILED]
    assert (only.name, "connection refused" in only.cause) == ("connection", True)
    no_url = examine.Examination(environ, tmp_path / "prefect.yaml")
    (only,) = [
        check for check in examine.examine(no_url, CancellationToken()) if check.status is FAILED
    ]
    assert (only.name, only.cause) == ("settings", "no Prefect server is set")


def test_output_shows_the_fix_below_a_failure_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redact, "_registered", {"open-sesame"})
    checks = [
        Check(Area.SERVER, "address", OK, "http://prefect/api"),
        Check(Area.SERVER, "credentials", FAILED, "wrong open-sesame", "Use open-sesame."),
        Check(Area.CLUSTER, "context", SKIPPED, "no kubeconfig", "not shown"),
    ]
    assert [str(line) for line in doctor(checks)] == [
        "server",
        "  ok       address: http://prefect/api",
        "  failed   credentials: wrong ********",
        "             fix: Use ********.",
        "",
        "cluster",
        "  skipped  context: no kubeconfig",
        "",
        "1 ok, 1 failed, 1 skipped",
    ]
    output = doctor_json(checks)
    assert output["summary"] == {"ok": 1, "failed": 1, "skipped": 1}
    assert output["checks"][1] == {
        "area": "server",
        "name": "credentials",
        "status": "failed",
        "cause": "wrong ********",
        "fix": "Use ********.",
    }
