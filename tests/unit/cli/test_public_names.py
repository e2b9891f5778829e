"""The public words of the command line, written out: a rename in the code must not change them.

Commands, options, exit codes, and keys and words of the JSON output. A change here is a change of
the interface: it belongs into the CHANGELOG, and one of the JSON output may need a new `version`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from deployctl.app.deploying.images_file import BuildOutputs
from deployctl.app.operating.status import (
    DeploymentStatus,
    PoolStatus,
    RunStatus,
    Status,
    StuckRun,
)
from deployctl.cli import exit as exit_codes
from deployctl.cli.commands import app
from deployctl.cli.event_log import LEVEL_NAMES, Entry, LogFormat, as_json
from deployctl.cli.init import Recipe
from deployctl.cli.logs import LogLevel
from deployctl.cli.options import OutputFormat
from deployctl.cli.render import CommandReport, names
from deployctl.cli.render import json as json_renderer
from deployctl.cli.render.runs import log_json, run_json
from deployctl.cli.render.status import status_json
from deployctl.cli.render.work_pools import pool_json
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.errors import Interrupted, SettingsError, UsageError
from deployctl.deploy.model import Change, FieldChange, Op, Plan, Result, ResultStatus
from deployctl.images.model import BuilderChoice, Image
from deployctl.worker.event_log import Level
from deployctl.worker.runtimes import RuntimeKind

OUTPUT = {"--output", "--strict", "--traceback"}
SERVER = {"--api-url", "--profile"}
CONNECTION = SERVER | {"--wait-for-api", "--concurrency"}
SELECTION = {
    *("--name", "-n", "--all", "--no-all", "--with-tag", "--in-pool", "--exclude"),
    "--changed-since",
    "--prefect-file",
    "--env",
    "--set",
    "--env-file",
}
BUILDER = {"--builder"}
WORKER_MANIFEST = {
    *("--values", "-f", "--name", "--namespace", "-n", "--image", "--replicas", "--pool", "-p"),
    *("--work-queue", "-q", "--limit", "-l", "--job-namespace", "--base-job-template"),
    *("--api-url", "--auth-secret"),
}
DEPLOY = {
    *(
        "--project",
        "--prune",
        "--yes",
        "--take-over",
        "--create-pools",
        "--keep-going",
        "--full",
        "--prompt",
        "--no-prompt",
        "--skip-build",
        "--images",
    ),
    *("--image", "--pin", "--no-pin", "--description", "-d", "--version", "--version-type"),
    *("--tag", "-t", "--concurrency-limit", "--collision-strategy", "--pool", "-p"),
    *("--work-queue", "-q", "--job-variable", "--jv", "-jv", "--variable", "-v", "--cron"),
    *("--interval", "--rrule", "--anchor-date", "--timezone", "--trigger", "--param", "--params"),
    *("--enforce-parameter-schema", "--no-enforce-parameter-schema", "--sla", "--empty-name"),
    *("--empty-tag", "--empty-job-variable", "--empty-cron", "--empty-interval"),
    *("--empty-rrule", "--empty-trigger", "--empty-param", "--empty-sla"),
}
POOL = {
    *("--base-job-template", "--concurrency-limit", "--description", "-d", "--paused"),
    "--no-paused",
}
COMMANDS = {
    "deploy": SELECTION
    | DEPLOY
    | BUILDER
    | CONNECTION
    | OUTPUT
    | {"--timeout", "--on-error", "--container-log", "--plan"},
    "plan": SELECTION
    | DEPLOY
    | BUILDER
    | CONNECTION
    | OUTPUT
    | {"--detailed-exitcode", "--run-steps", "--out"},
    "history": CONNECTION | OUTPUT | {"--revision", "--prefect-file", "--project", "--env"},
    "build": SELECTION | BUILDER | CONNECTION | OUTPUT,
    "validate": SELECTION | OUTPUT | {"--fix", "--diff"},
    "export": CONNECTION
    | OUTPUT
    | {"--all", "--name", "-n", "--pool", "-p", "--out", "-o", "--force", "--project"},
    "init": OUTPUT | {"--recipe"},
    "worker": SERVER
    | {
        *("--pool", "-p", "--name", "-n", "--work-queue", "-q", "--limit", "-l"),
        *("--prefetch-seconds", "--run-once", "--runtime", "--with-healthcheck", "--type", "-t"),
        "--shared-name",
        *("--create-pool-if-not-found", "--no-create-pool-if-not-found", "--create-pool"),
        *("--no-create-pool", "--base-job-template", "--install-policy", "--log-format"),
        *("--sync-base-job-template", "--no-sync-base-job-template"),
        "--traceback",
    },
    "dev": SELECTION | OUTPUT | {"--run", "--port", "--seed"},
    "run": CONNECTION
    | OUTPUT
    | {
        *("--param", "-p", "--params", "--job-variable", "--jv", "-jv", "--name"),
        *("--flow-run-name", "--tag", "--start-in", "--start-at", "--watch"),
    },
    "destroy": CONNECTION | OUTPUT | {"--prefect-file", "--project", "--env", "--yes", "-y"},
    "status": CONNECTION | OUTPUT | {"--pool", "-p", "--all", "--prefect-file", "--env"},
    "logs": CONNECTION | OUTPUT | {"--follow", "-f", "--level", "--tail", "-n"},
    "doctor": SERVER | OUTPUT | {"--pool", "-p", "--prefect-file", "--env", "--timeout"},
    "metrics": CONNECTION | {"--port", "--address", "--interval", "--once"},
    "schema": set(),
    "explain": set(),
    "manifests worker": WORKER_MANIFEST,
    "manifests stack": WORKER_MANIFEST
    | {
        *("--prefect", "--server-image", "--database-image", "--database-password-secret"),
        *("--project-image", "--node-port", "--storage", "--storage-class"),
    },
    "manifests password": {"--secret"},
    "work-pool ls": CONNECTION | OUTPUT,
    "work-pool inspect": CONNECTION | OUTPUT,
    "work-pool create": CONNECTION | OUTPUT | POOL | {"--type", "-t"},
    "work-pool update": CONNECTION | OUTPUT | POOL,
    "work-pool delete": CONNECTION | OUTPUT | {"--yes", "-y"},
    "work-pool get-default-base-job-template": {"--type", "-t", "--file", "-f"},
}


def options(group: Any, prefix: str = "") -> Iterator[tuple[str, set[str]]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from options(command, f"{name} ")
        else:
            parameters = [each for each in command.params if each.param_type_name == "option"]
            yield prefix + name, {o for p in parameters for o in (*p.opts, *p.secondary_opts)}


def test_commands_and_options() -> None:
    assert dict(options(typer.main.get_command(app))) == COMMANDS


def test_page_of_environments_lists_the_commands_that_take_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "environments.md").read_text()
    sentence = re.search(r"[^.]*take `--env`", text)
    assert sentence is not None
    listed = re.findall(r"`([a-z]+)`", sentence[0])
    assert sorted(listed) == sorted(name for name, known in COMMANDS.items() if "--env" in known)


def test_values_of_options() -> None:
    formats = ["human", "json", "github", "sarif", "junit", "gitlab", "html"]
    assert [each.value for each in OutputFormat] == formats
    assert [each.value for each in LogFormat] == ["auto", "human", "json"]
    assert [each.value for each in LogLevel] == ["debug", "info", "warning", "error", "critical"]
    assert [each.value for each in BuilderChoice] == ["auto", "docker", "assemble"]
    assert {each.value for each in RuntimeKind} == {"kubernetes", "docker", "process"}
    assert [each.value for each in Recipe] == ["kubernetes", "docker", "process"]


def test_exit_codes() -> None:
    codes = (
        exit_codes.DONE,
        exit_codes.FAILED,
        exit_codes.CHANGES_PRESENT,
        exit_codes.USAGE,
        SettingsError("").exit_code,
        UsageError("").exit_code,
        Interrupted("", signal=2).exit_code,
        Interrupted("", signal=15).exit_code,
    )
    assert codes == (0, 1, 2, 64, 1, 64, 130, 143)


def test_words_of_the_json_output() -> None:
    assert list(names.OPS.values()) == ["create", "update", "delete", "none"]
    assert list(names.STATUSES.values()) == ["applied", "unchanged", "skipped", "failed"]
    assert list(names.SEVERITIES.values()) == ["error", "warning", "note"]
    assert list(names.GITHUB_LEVELS.values()) == ["error", "warning", "notice"]
    assert names.OPS.keys() == set(Op)
    assert names.STATUSES.keys() == set(ResultStatus)
    assert names.SEVERITIES.keys() == set(Severity)


def test_keys_of_a_deploy() -> None:
    span = Span("prefect.yaml", 1, 2, 3, 4)
    change = Change("deployment", ("f", "d"), Op.UPDATE, fields=(FieldChange("tags", [], ["a"]),))
    report = CommandReport(
        "deploy",
        (Diagnostic("DC101", Severity.NOTE, "m", span, related=((span, "here"),)),),
        plan=Plan((change,)),
        results=(Result(change, ResultStatus.SKIPPED, reason="stopped"),),
    )
    shown_span = {"file": "prefect.yaml", "line": 1, "column": 2, "end_line": 3, "end_column": 4}
    assert json.loads(json_renderer.render(report)) == {
        "version": 1,
        "command": "deploy",
        "diagnostics": [
            {
                "code": "DC101",
                "severity": "note",
                "message": "m",
                "help": None,
                "fixable": False,
                "span": shown_span,
                "related": [{"span": shown_span, "message": "here"}],
            }
        ],
        "changes": [
            {
                "kind": "deployment",
                "name": "f/d",
                "key": ["f", "d"],
                "op": "update",
                "fields": [{"field": "tags", "old": [], "new": ["a"]}],
                "notes": [],
                "children": [],
            }
        ],
        "summary": {
            "create": 0,
            "update": 1,
            "delete": 0,
            "none": 0,
            "children": {"create": {}, "update": {}, "delete": {}},
            "undeclared": 0,
        },
        "undeclared": [],
        "results": [
            {
                "kind": "deployment",
                "name": "f/d",
                "op": "update",
                "status": "skipped",
                "error": None,
                "reason": "stopped",
                "done": [],
            }
        ],
    }


def test_keys_of_status() -> None:
    run = RunStatus("r-1", "late", "Late", "since", "start")
    found = Status(
        (PoolStatus("p", "process", "READY", False, None, 1, 2, 3),),
        (DeploymentStatus("f/d", deployed=True, pool="p", last_run=run),),
        (StuckRun(run, "f/d", "p", None),),
    )
    shown_run = {
        "id": "r-1",
        "name": "late",
        "state": "Late",
        "since": "since",
        "start": "start",
    }
    assert status_json(found) == {
        "pools": [
            {
                "name": "p",
                "type": "process",
                "status": "READY",
                "paused": False,
                "concurrency_limit": None,
                "workers_online": 1,
                "active_runs": 2,
                "late_runs": 3,
            }
        ],
        "deployments": [
            {
                "name": "f/d",
                "deployed": True,
                "pool": "p",
                "paused": False,
                "last_run": shown_run,
                "next_run": None,
            }
        ],
        "stuck": [{"run": shown_run, "deployment": "f/d", "pool": "p", "reason": None}],
    }


def test_keys_of_a_run_a_log_and_a_work_pool() -> None:
    assert set(run_json({})) == {
        *("id", "name", "state_type", "state_name", "state_message", "deployment_id", "flow_id"),
        *("parameters", "tags", "work_pool_name", "work_queue_name", "expected_start_time"),
        *("start_time", "end_time", "run_count"),
    }
    assert set(log_json({})) == {"timestamp", "level", "name", "message", "task_run_id"}
    assert set(pool_json({})) == {
        *("id", "name", "type", "status", "is_paused", "concurrency_limit", "description"),
        "base_job_template",
    }


def test_keys_of_a_build() -> None:
    image = Image("registry.example/etl", "1", "sha256:0", built=True)
    data = BuildOutputs({"f/d": {"step": {}}}, {"a": "b"}).as_json([image])
    assert list(data) == ["images", "outputs", "pins"]
    assert list(data["images"][0]) == ["name", "tag", "digest", "image", "built"]


def test_keys_of_a_line_of_the_event_log() -> None:
    line = json.loads(as_json(Entry(0.0, Level.INFO, "run.claimed", "m", {"run": "r"})))
    assert list(line) == ["time", "level", "event", "message", "facts"]
    assert list(LEVEL_NAMES.values()) == ["debug", "info", "warning", "error"]
    assert LEVEL_NAMES.keys() == set(Level)
