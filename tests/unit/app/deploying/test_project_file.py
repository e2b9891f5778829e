"""Project files with their environments: the example, the file beside, and the server of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.app.deploying.project_file import read_project
from deployctl.app.doctor.examine import Examination, server_options
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.project.parse import parse_project, report_entries
from deployctl.project.selection import Selection

EXAMPLE = Path(__file__).parents[4] / "examples" / "monorepo" / "prefect.yaml"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("staging", {"hourly-staging": "shop-staging", "daily-staging": "shop-staging"}),
        ("prod", {"hourly-prod": "shop", "daily-prod": "shop"}),
        ("pr-7", {"hourly-pr-7": "shop-scratch", "daily-pr-7": "shop-scratch"}),
    ],
)
def test_example_has_three_environments(environment: str, expected: Json) -> None:
    report = Report()
    document = read_project(EXAMPLE, Selection(), environment, {}, report)
    assert document is not None
    deployments = parse_project(document, report, {}).deployments
    report_entries(deployments, report)
    assert not report.items
    assert {each.name: each.raw["parameters"]["bucket"] for each in deployments} == expected


def test_documented_resources_have_names_of_their_own_in_each_environment(tmp_path: Path) -> None:
    page = (EXAMPLE.parents[2] / "docs" / "environments.md").read_text()
    (shown,) = (part.split("```")[0] for part in page.split("```yaml\n") if "blocks:" in part)
    file = tmp_path / "prefect.yaml"
    file.write_text(f"{shown}environments: {{dev: {{}}, prod: {{}}}}\n")
    declared, report = [], Report()
    for environment in ("dev", "prod"):
        document = read_project(file, Selection(), environment, {}, report)
        assert document is not None
        project = parse_project(document, report, {"PASSWORD": "x"})
        report_entries(project.deployments, report)
        declared.append({(each.kind, each.key) for each in project.declared})
        (daily,) = project.deployments
        reference = f"{{{{ prefect.variables.region_{environment} }}}}"
        assert daily.raw["parameters"] == {"region": reference}
    assert not report.items
    assert [len(each) for each in declared] == [3, 3]
    assert declared[0].isdisjoint(declared[1])


def test_example_needs_an_environment() -> None:
    report = Report()
    assert read_project(EXAMPLE, Selection(), None, {}, report) is None
    assert {item.code for item in report} == {"DC142"}


@pytest.mark.parametrize(
    ("beside", "code", "help_"),
    [
        ("", "DC108", "Begin with a key of an environment, such as 'name_suffix:'."),
        ("a: [", "DC103", None),
        ("tags: a\ntags: a\n", "DC105", "Keep one of them; Prefect silently takes the last."),
    ],
)
def test_reports_mistakes_of_the_file_beside(
    beside: str, code: str, help_: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: p\ndeployments: []\n")
    (tmp_path / "a.prod.yaml").write_text(beside)
    report = Report()
    read_project(file, Selection(), "prod", {}, report)
    (only,) = report.items
    assert (only.code, only.fix) == (code, None)
    assert help_ is None or only.help == help_


def test_doctor_asks_the_server_of_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "prefect.yaml"
    prod = {"api_url": "http://${HOST}/api", "profile": "p"}
    file.write_text(json.dumps({"environments": {"prod": prod}, "deployments": []}))
    what = Examination({"HOST": "prod"}, file, environment="prod")
    assert server_options(what) == ("http://prod/api", "p")
    assert server_options(replace(what, profile="other")) == (None, "other")
    assert server_options(replace(what, environment="prd")) == (None, None)
