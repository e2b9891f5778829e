"""Any value in a file is planned or reported, and never raises an unexpected error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.api.dialect import CLOUD
from deployctl.app.deploying.build_steps import expected_outputs
from deployctl.app.deploying.desired_state import PlanInputs, PoolInfo, desired_deployment
from deployctl.app.deploying.load import LoadOptions, load_project
from deployctl.app.deploying.work_pools import desired_pools
from deployctl.cli.render import CommandReport
from deployctl.cli.render.json import render
from deployctl.cli.render.layout import View
from deployctl.cli.render.plan import plan as plan_lines
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json, JsonPath
from deployctl.deploy.plan import plan
from deployctl.deploy.resources.deployments import current_deployment
from deployctl.jobs.variables import PoolVariables
from deployctl.project.selection import Selection
from deployctl.templating.references import ReferenceValues

FILE: Json = {
    "build": [
        {
            "prefect_docker.deployments.steps.build_docker_image": {
                "id": "b",
                "requires": "prefect-docker",
                "image_name": "r/a",
                "additional_tags": ["x"],
                "dockerfile": "auto",
                "buildargs": {"A": "1"},
                "platform": "linux/amd64",
            }
        },
        {"prefect.deployments.steps.run_shell_script": {"id": "s", "script": "{{ b.image }}"}},
    ],
    "push": [
        {
            "prefect_docker.deployments.steps.push_docker_image": {
                "image_name": "{{ b.image_name }}",
                "tag": "{{ b.tag }}",
                "credentials": {"username": "a", "password": "b"},
            }
        }
    ],
    "pull": [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}],
    "work_pools": [{"name": "w", "type": "process", "queues": [{"name": "q", "priority": 1}, "r"]}],
    "deployments": [
        {
            "name": "d",
            "entrypoint": "flows.py:main",
            "tags": ["a"],
            "parameters": {"a": 1},
            "schedules": [{"cron": "0 7 * * *", "slug": "s"}, {"rrule": "FREQ=DAILY"}],
            "concurrency_limit": {"limit": 1, "collision_strategy": "ENQUEUE"},
            "work_pool": {"name": "w", "job_variables": {"image": "{{ b.image }}", "env": {}}},
            "triggers": [
                {"expect": ["a"], "match_related": [{"a": "b"}], "parameters": {"a": 1}},
                {
                    "require": "all",
                    "triggers": [{"expect": ["x"]}, {"triggers": [{"expect": "y"}]}],
                },
                {
                    "posture": "Metric",
                    "metric": {"name": "duration", "threshold": 1, "operator": "<"},
                },
            ],
            "sla": [{"name": "s"}],
        }
    ],
}
UNUSUAL_VALUES: list[Json] = [None, 3, True, "x", [], {}, [None], [{}], {"a": None}]
UNUSUAL_VALUES += ["{{ b.image }}", "{{ $NOT_SET }}", "{{ prefect.variables.v }}", "{{ a | b }}"]
SCHEDULE = {"id": "1", "schedule": {"cron": "0 0 * * *"}, "active": True}
THERE: Json = {"id": "1", "name": "d", "schedules": [SCHEDULE], "work_pool_name": "w"}


def paths_below(value: Json, path: JsonPath = ()) -> Iterator[JsonPath]:
    """The paths of all values below the root."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from paths_below(item, (*path, key))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project")
    (made / "flows.py").write_text("from prefect import flow\n@flow\ndef main(a: int = 1): pass\n")
    return made


def plan_file(folder: Path, path: JsonPath, value: Json) -> Report:
    """Plans the file with another value at a path; stops where errors are reported."""
    written = deepcopy(FILE)
    parent = written
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = value
    (folder / "prefect.yaml").write_text(json.dumps(written))
    report, environ = Report(), {"HOME": "/"}
    loaded = load_project(folder / "prefect.yaml", LoadOptions(Selection(True)), report, environ)
    outputs = expected_outputs(loaded, environ, report)[1] if loaded else {}
    if loaded is None or report.errors:
        return report
    loaded.check_parameters(report)
    schema = {"properties": {"image": {"type": "string"}, "env": {"type": "object"}}}
    pools = {"w": PoolInfo("process", PoolVariables({"variables": schema}))}
    known = PlanInputs(CLOUD, environ, folder, ReferenceValues({}), pools, outputs=outputs)
    desired = [desired_deployment(each, known, report) for each in loaded.selected]
    desired += desired_pools(loaded, None)
    if not report.errors:
        live = [current_deployment("main", THERE, [], CLOUD)]
        made = plan(desired, live, lambda *_: frozenset(), CLOUD)
        report_of_plan = CommandReport("plan", (), {}, made)
        assert all(list(plan_lines(report_of_plan, view)) for view in (View(), View(40)))
        assert render(report_of_plan)
    return report


D: JsonPath = ("deployments", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (D, "{{ prefect.variables.v }}"),
        ((*D, "parameters"), "{{ prefect.variables.v }}"),
        ((*D, "schedules"), "{{ prefect.variables.v }}"),
        ((*D, "schedules"), "{{ b.image }}"),
        ((*D, "schedules"), "{{ a | b }}"),
        ((*D, "schedules", 0), "{{ b.image }}"),
        ((*D, "schedules", 1, "rrule"), "{{ b.image }}"),
        ((*D, "triggers"), "{{ prefect.variables.v }}"),
        ((*D, "triggers", 0), "{{ b.image }}"),
        ((*D, "triggers", 1, "triggers", 1), None),
        ((*D, "work_pool", "job_variables"), "{{ b.image }}"),
        ((*D, "work_pool", "job_variables"), "{{ prefect.variables.v }}"),
    ],
)
def test_accepts_a_template_or_null_for_a_mapping_or_list(
    folder: Path, path: JsonPath, value: Json
) -> None:
    plan_file(folder, path, value)


@given(path=st.sampled_from(list(paths_below(FILE))), value=st.sampled_from(UNUSUAL_VALUES))
def test_no_value_raises_an_unexpected_error(folder: Path, path: JsonPath, value: Json) -> None:
    with suppress(UsageError):
        plan_file(folder, path, value)


def test_reports_each_problem_once(folder: Path) -> None:
    """The file is validated once, and after rendering only what was a template until then."""
    entry = {
        **FILE["deployments"][0],
        "nmae": "x",
        "version": 1.5,
        "description": "{{ a | b }}",
        "tags": ["{{ prefect.variables.v }}", 3],
        "schedules": [{"cron": "@daily"}, {"cron": "@daily"}],
        "parameters": {"a": "{{ $HOME }}", "b": 1},
    }
    report = plan_file(folder, D, entry)
    expected = ["DC120", *["DC123"] * 4, "DC210", "DC301", "DC304", "DC420", "DC421", "DC514"]
    assert sorted(item.code for item in report) == expected
    assert report.items == report.distinct()
