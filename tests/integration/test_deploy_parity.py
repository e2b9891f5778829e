"""`prefect deploy` and deployctl store the same for the same file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs.base_job_templates import base_job_template
from tests.integration.conftest import ServerPool, needs
from tests.support.api import Api
from tests.support.deployment_cases import (
    BUILT,
    CASES,
    ENVIRON,
    FILES,
    SECRET,
    TOP_LEVEL,
    VARIABLES,
    Case,
)
from tests.support.environment import isolated
from tests.support.prefect_cli import CommandResult, PrefectCli, run_program
from tests.support.project import write_project
from tests.support.servers import PREFECT_2, PREFECT_3, Server

# The first test of a version has both tools deploy all cases.
pytestmark = pytest.mark.timeout(900)

PROJECTS = {"prefect.yaml": ("name: parity\n", CASES), "built.yaml": (TOP_LEVEL, BUILT)}
VERSIONS = {2: PREFECT_2, 3: PREFECT_3}
START = re.compile(r"DTSTART:(\d{8}T\d{6})\n")
"""The server starts a minutely RRULE without DTSTART at the minute of its creation."""
OF_THE_SERVER = {
    "id",
    "created",
    "updated",
    "created_by",
    "updated_by",
    "flow_id",
    "deployment_id",
    "owner_resource",
    "version_id",
    "version_info",
    "work_queue_id",
    "last_polled",
    "status",
    "labels",
}
"""Fields that the server sets. `version_info` is that of the last write, which isn't returned."""

Record = Mapping[str, Any]
Records = Mapping[str, Record]


@dataclass(frozen=True)
class Outcome:
    """What each tool stored on an empty server by deployment name, and the plan after that."""

    theirs: Records
    ours: Records
    after_prefect: Mapping[str, set[str]]
    """Deployment → what deployctl changes after `prefect deploy`."""
    after_deployctl: Mapping[str, set[str]]
    """The same after its own deploy."""


@pytest.fixture(scope="module", params=[3, 2], ids=["3.x", "2.20"])
def major(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    needs(VERSIONS[version])
    return version


@pytest.fixture(scope="module")
def outcome(
    major: int, servers: ServerPool, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """All cases deployed by both tools to the same server, emptied in between."""
    folder, home = tmp_path_factory.mktemp("parity"), tmp_path_factory.mktemp("home")
    write_project(folder, _text("", []), FILES)
    for file, (top, cases) in PROJECTS.items():
        (folder / file).write_text(_text(top, [c for c in cases if major in c.majors]), "utf-8")
    with servers.lend(VERSIONS[major], scheduler=False) as server, Api(server.api_url) as api:
        _create_dependencies(api, major)
        for file in PROJECTS:
            _prefect(server, home, folder, file)
        theirs = _records(api)
        after_prefect = _changes(server, home, folder)
        server.reset()
        _create_dependencies(api, major)
        for file in PROJECTS:
            _deployctl(server, home, folder, "deploy", file)
        ours = _records(api)
        yield Outcome(theirs, ours, after_prefect, _changes(server, home, folder))


def _text(top: str, cases: list[Case]) -> str:
    return top + "\n".join(["deployments:", *(case.entry for case in cases)]) + "\n"


def _create_dependencies(api: Api, major: int) -> None:
    """Creates what the deployments reference: pools, variables, a block."""
    api.pool("pool")
    api.pool("kubernetes", "kubernetes", base_job_template("kubernetes"))
    for name, value in VARIABLES.items():
        text = value if isinstance(value, str) or major > 2 else json.dumps(value)
        api.call("POST", "/variables/", {"name": name, "value": text})
    api.call("POST", "/block_types/install_system_block_types")
    kind = api.call("GET", "/block_types/slug/secret")["id"]
    of_type = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = api.call("POST", "/block_schemas/filter", of_type)[0]["id"]
    block = {"name": "tok", "block_type_id": kind, "block_schema_id": schema}
    api.call("POST", "/block_documents/", {**block, "data": {"value": SECRET}})


def _prefect(server: Server, home: Path, folder: Path, file: str) -> None:
    arguments = ("--no-prompt", "deploy", "--all", "--prefect-file", file)
    ended = PrefectCli(server, home).run(*arguments, cwd=folder, **ENVIRON)
    assert ended.code == 0, f"prefect deploy failed:\n{_end(ended.stdout)}\n{_end(ended.stderr)}"


def _deployctl(server: Server, home: Path, folder: Path, command: str, file: str) -> CommandResult:
    program = str(Path(sys.executable).with_name("deployctl"))
    env = isolated(home, PREFECT_API_URL=server.api_url, **ENVIRON)
    arguments = [command, "--all", "--prefect-file", file, "--output", "json"]
    ended = run_program([program, *arguments], cwd=folder, env=env)
    assert ended.code == 0, (
        f"deployctl {command} failed:\n{_end(ended.stdout)}\n{_end(ended.stderr)}"
    )
    return ended


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-40:])


def _changes(server: Server, home: Path, folder: Path) -> Mapping[str, set[str]]:
    """The changes of a plan; for the file with steps, of a deploy that has run them."""
    plain, built = PROJECTS
    ended_commands = [
        _deployctl(server, home, folder, "plan", plain),
        _deployctl(server, home, folder, "deploy", built),
    ]
    return {
        change["key"][-1]: {field["field"] for field in change["fields"]}
        | {f"{child['kind']}s" for child in change["children"]}
        for ended in ended_commands
        for change in json.loads(ended.stdout)["changes"]
    }


def _records(api: Api) -> Records:
    """Everything stored of each deployment, in a form that is comparable between servers."""
    flows = {flow["id"]: flow for flow in api.call("POST", "/flows/filter", {})}
    automations: list[Any] = []
    with suppress(AssertionError):  # 2.20 has them switched off
        automations = api.automations()
    return {
        stored["name"]: {
            **_plain(stored),
            "flow": _plain(flows[stored["flow_id"]]),
            "automations": _plain([a for a in automations if stored["id"] in json.dumps(a)]),
        }
        for stored in api.call("POST", "/deployments/filter", {})
    }


def _plain(value: Any) -> Any:
    """A record without fields that the server sets; lists of records in a fixed order."""
    if isinstance(value, dict):
        kept = {key: _plain(item) for key, item in value.items() if key not in OF_THE_SERVER}
        if limit := kept.get("global_concurrency_limit"):
            kept["global_concurrency_limit"] = limit["limit"]
        if _is_recent(kept.get("anchor_date")):
            kept["anchor_date"] = "the time of the deploy"
        if (start := START.match(str(kept.get("rrule")))) and _is_recent(start[1] + "Z"):
            kept["rrule"] = kept["rrule"].replace(start[1], "the time of the deploy")
        return kept
    if isinstance(value, list):
        plain = [_plain(item) for item in value]
        records = any(isinstance(item, dict) and "created" in item for item in value)
        return sorted(plain, key=_canonical) if records else plain
    return value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_recent(moment: Any) -> bool:
    return isinstance(moment, str) and (
        datetime.now(UTC) - datetime.fromisoformat(moment) < timedelta(hours=1)
    )


every_case = pytest.mark.parametrize("case", [*CASES, *BUILT], ids=lambda case: case.name)


def _skip_refused(case: Case, major: int) -> None:
    if major not in case.majors:
        pytest.skip("`prefect deploy` of this version refuses the entry")


@every_case
def test_both_store_the_same_except_intended_differences(
    outcome: Outcome, major: int, case: Case
) -> None:
    _skip_refused(case, major)
    theirs, ours = outcome.theirs[case.stored_name], outcome.ours[case.stored_name]
    intended = {each.field: each.ours for each in case.differences if major in each.majors}
    if _has_no_version(theirs, major):
        intended["version"] = ours["version"]
    different = {name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name)}
    assert {name: (theirs.get(name), ours.get(name)) for name in different - intended.keys()} == {}
    assert {name: ours[name] for name in different} == intended


@every_case
def test_plan_after_prefect_deploy_has_only_intended_differences(
    outcome: Outcome, major: int, case: Case
) -> None:
    """An inferred version is sent with other changes and isn't counted as one."""
    _skip_refused(case, major)
    intended = {each.field for each in case.differences if major in each.majors and each.planned}
    changed = outcome.after_prefect[case.stored_name] - {"version", "version_info"}
    assert changed == intended


def test_plan_after_deployctl_deploy_is_empty(outcome: Outcome) -> None:
    assert {name: fields for name, fields in outcome.after_deployctl.items() if fields} == {}


def _has_no_version(theirs: Record, major: int) -> bool:
    """2.20 stores none if the file declares none; ours is the flow's, as 3.x stores it."""
    return major == 2 and theirs["version"] is None
