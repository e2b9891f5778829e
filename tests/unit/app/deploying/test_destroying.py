"""The project that `destroy` and `history` take from a file, with what an environment sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployctl.app.deploying.destroying import project_of, read_file
from deployctl.app.deploying.project_file import read_project
from deployctl.core.diagnostics import Report
from deployctl.project.document import Document, Environment
from deployctl.project.parse import parse_project
from deployctl.project.selection import Selection
from deployctl.templating.references import ReferenceValues

FILE = """\
name: "sales-{{ env.region.short }}-{{ env.name }}"
environments:
  prod:
    api_url: "http://{{ env.host }}/${PATH_OF_API:-{{ env.path }}}"
    values: {region: {short: eu}, host: "${HOST}", path: api, other: "${NOT_SET}"}
deployments: []
"""


def read(
    folder: Path, text: str, environment: str | None = "prod", environ: Mapping[str, str] = {}
) -> tuple[Document | None, Report]:
    """The file with this text, as `destroy` reads it."""
    file, report = folder / "prefect.yaml", Report()
    file.write_text(text)
    return read_file(file, environment, {"HOST": "h", **environ}, report), report


def name_in(document: Document, report: Report) -> str:
    return project_of(document, report, {"TEAM": "x"}, lambda _: ReferenceValues({}))


def test_name_and_server_have_the_values_of_the_environment(tmp_path: Path) -> None:
    document, report = read(tmp_path, FILE)
    assert document is not None, report.items
    assert document.environment == Environment("prod", "http://h/api")
    assert name_in(document, report) == "sales-eu-prod"
    assert not report.items


def test_name_and_server_are_those_of_a_deploy(tmp_path: Path) -> None:
    environ = {"NOT_SET": "", "PATH_OF_API": "{{ env.path }}"}
    document, report = read(tmp_path, FILE, environ=environ)
    deployed = read_project(
        tmp_path / "prefect.yaml", Selection(), "prod", {"HOST": "h", **environ}, report
    )
    assert document is not None
    assert deployed is not None
    assert document.environment == deployed.environment
    assert name_in(document, report) == parse_project(deployed, report, {}).name
    assert not report.items


def test_name_has_the_values_of_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "prefect.prod.yaml").write_text("values: {region: {short: us}, host: b}\n")
    document, report = read(tmp_path, FILE)
    assert document is not None, report.items
    assert document.environment == Environment("prod", "http://b/api")
    assert name_in(document, report) == "sales-us-prod"


@pytest.mark.parametrize(
    ("name", "code", "help_"),
    [
        ("{{ env.othr }}", "DC142", "Did you mean 'other'?"),
        ("{{ env.other }}", "DC143", "Set NOT_SET where deployctl runs"),
    ],
)
def test_name_without_its_value_is_an_error(
    name: str, code: str, help_: str, tmp_path: Path
) -> None:
    document, report = read(tmp_path, FILE.replace("sales-", name, 1))
    assert document is None
    (only,) = report.items
    assert only.code == code
    assert only.span is not None
    assert (only.help or "").startswith(help_)


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("sales-{{ env.name }}", ["DC133"]),
        ("sales-{{ build.tag }}", ["DC133"]),
        ("sales-{{ ctx.flow.id }}", ["DC133"]),
        ("sales-{{ $NO }}", ["DC302"]),
        ("sales-{{ $TEAM }}", []),
        ("sales", []),
    ],
)
def test_placeholder_that_is_left_in_a_name_is_an_error(
    name: str, codes: list[str], tmp_path: Path
) -> None:
    document, report = read(tmp_path, f'name: "{name}"\ndeployments: []\n', None)
    assert document is not None
    name_in(document, report)
    assert [item.code for item in report] == codes
    assert bool(report.blocking) == bool(codes)
    assert all(item.span for item in report)
