"""Placeholders in the names of a file."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.core.diagnostics import Report, Severity
from deployctl.core.json_values import Json
from deployctl.project.document import parse_document
from deployctl.project.identity import identifying_references, is_identifying
from deployctl.project.parse import parse_project, report_entries
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from tests.unit.project.reading import document

VALUES = {"v": "x", "n": 3, "flag": True, "map": {"a": 1}}
KNOWN = ReferenceValues(
    {(PlaceholderKind.VARIABLE, (name,)): {"value": value} for name, value in VALUES.items()}
)
VARIABLE = "{{ prefect.variables.v }}"


def parse(entry: str, **options: Any) -> tuple[Json, list[tuple[str, Severity]]]:
    """The entry's values, and the diagnostics."""
    report = Report()
    found = parse_document(f"name: p\ndeployments:\n  - {entry}\n", "prefect.yaml", report)
    assert found is not None
    project = parse_project(found, report, {"ENV": "env"}, **options)
    report_entries(project.deployments, report)
    return project.deployments[0].raw, [(item.code, item.severity) for item in report]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a-{{ prefect.variables.v }}", "a-x"),
        ("{{ prefect.variables.n }}", "3"),
        ("{{ prefect.variables.flag }}", "True"),
        ("{{ $ENV }}-{{ prefect.variables.v }}", "env-x"),
        ("{{ ENV }}", "env"),
    ],
)
def test_names_are_resolved_to_text(written: str, name: str) -> None:
    raw, problems = parse(f"{{name: '{written}', entrypoint: 'a.py:f'}}", references=KNOWN)
    assert raw["name"] == name
    assert problems == []


@pytest.mark.parametrize(
    ("entry", "codes"),
    [
        ("{name: '{{ prefect.variables.gone }}', entrypoint: 'a.py:f'}", ["DC304"]),
        ("{name: '{{ prefect.variables.map }}', entrypoint: 'a.py:f'}", ["DC128"]),
        ("{name: '{{ nothing.x }}', entrypoint: 'a.py:f'}", ["DC303"]),
        ("{name: '{{ $UNSET }}', entrypoint: 'a.py:f'}", ["DC302"]),
        ("{name: '{{ s.tag }}', entrypoint: 'a.py:f', build: [{m.f: {id: s}}]}", []),
        ("{name: a, entrypoint: '{{ s.tag }}:f', build: [{m.f: {id: s}}]}", ["DC133"]),
        ("{name: '{{ ctx.flow.name }}', entrypoint: 'a.py:f'}", ["DC133"]),
        ("{name: '{{ a | b }}', entrypoint: 'a.py:f'}", ["DC133", "DC301"]),
    ],
)
def test_what_cannot_become_a_name_is_an_error(entry: str, codes: list[str]) -> None:
    assert sorted(code for code, _ in parse(entry, references=KNOWN)[1]) == codes


def test_without_a_server_a_reference_is_a_note_only_offline() -> None:
    entry = f"{{name: a, entrypoint: 'a.py:f', work_pool: {{name: '{VARIABLE}'}}}}"
    assert parse(entry, offline=True)[1] == [("DC133", Severity.NOTE)]
    assert parse(entry)[1] == [("DC133", Severity.ERROR)]


def test_only_references_in_names_are_read() -> None:
    text = f"""
name: "{VARIABLE}"
deployments:
  - name: "{{{{ prefect.variables.a }}}}"
    description: "{{{{ prefect.variables.b }}}}"
    work_pool: {{name: "{{{{ prefect.variables.c }}}}", job_variables: {{x: "{VARIABLE}"}}}}
    triggers: [{{name: "{{{{ prefect.variables.d }}}}", parameters: {{x: "{VARIABLE}"}}}}]
  - work_pool: "{{{{ prefect.blocks.json.e }}}}"
  - text
"""
    names = [reference.name for reference in identifying_references(document(text).data)]
    assert names == ["v", "a", "c", "d", "json.e"]


def test_a_flow_name_from_a_step_is_a_warning() -> None:
    """Prefect reads no flow name from the file, so it deploys the entry."""
    entry = "{name: a, entrypoint: 'a.py:f', flow_name: '{{ s.out }}', build: [{m.f: {id: s}}]}"
    assert parse(entry)[1] == [("DC133", Severity.WARNING)]


def test_identifying_paths() -> None:
    assert is_identifying(("triggers", 1, "name"))
    assert not is_identifying(("work_pool", "job_variables", "name"))
    assert not is_identifying(("parameters", "name"))
