"""The resources that a file declares at its top, other than work pools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK, redact
from deployctl.project.declared import check_same_resources
from deployctl.project.document import parse_document
from deployctl.project.model import Project
from deployctl.project.parse import parse_project
from deployctl.templating.references import ReferenceValues
from tests.unit.project.reading import codes, document, only, project, text_at


def in_folder(
    folder: Path, text: str, environ: Mapping[str, str] | None = None
) -> tuple[Project, Report]:
    """The project of a prefect.yaml in this folder."""
    report = Report()
    found = parse_document(text, str(folder / "prefect.yaml"), report)
    assert found is not None
    return parse_project(found, report, environ or {}), report


def declared(text: str, **environ: str) -> list[tuple[str, str, Json]]:
    """Kind, name and entry of each resource of a file without mistakes."""
    found, report = project(text, environ)
    assert codes(report) == []
    return [(each.kind, "/".join(each.key), dict(each.entry)) for each in found.declared]


def test_a_list_and_a_mapping_from_names_declare_the_same() -> None:
    expected = [
        ("variable", "region", {"name": "region", "value": "eu"}),
        ("variable", "rows", {"name": "rows", "value": {"max": 3}, "tags": ["etl"]}),
        ("variable", "none", {"name": "none", "value": None}),
    ]
    listed = """
        variables:
        - {name: region, value: "{{ $REGION }}"}
        - {name: rows, value: {max: 3}, tags: etl}
        - {name: none, value: null}
    """
    named = """
        variables:
          region: {value: "{{ $REGION }}"}
          rows: {value: {max: 3}, tags: [etl]}
          none: {value: null}
    """
    assert declared(listed, REGION="eu") == expected
    assert declared(named, REGION="eu") == expected


@pytest.mark.parametrize(
    "value", ["[a, b]", "{a: 1}", "{a: [1]}", "text", "3", "[[1]]", "{region: eu, x: {y: {}}}"]
)
def test_another_form_is_somebody_elses(value: str) -> None:
    found, report = project(f"variables: {value}")
    assert found.declared == ()
    item = only(report)
    assert (item.code, item.severity.value) == ("DC131", "warning")
    assert item.help is not None
    assert "a list of variables with 'name' and 'value', or a mapping from their" in item.help


def test_concurrency_limits_are_global_or_of_a_tag() -> None:
    assert declared("""
        concurrency_limits:
        - {name: db, limit: "5", slot_decay_per_second: 0.5, active: no}
        - {tag: gpu, limit: 0}
    """) == [
        (
            "global_concurrency_limit",
            "db",
            {"name": "db", "limit": 5, "slot_decay_per_second": 0.5, "active": False},
        ),
        ("tag_concurrency_limit", "gpu", {"tag": "gpu", "limit": 0}),
    ]
    assert declared("concurrency_limits: {db: {limit: 1}, label: {tag: gpu, limit: 2}}") == [
        ("global_concurrency_limit", "db", {"name": "db", "limit": 1}),
        ("tag_concurrency_limit", "gpu", {"tag": "gpu", "limit": 2}),
    ]


@pytest.mark.parametrize(
    ("item", "code", "at"),
    [
        ("{limit: 1}", "DC241", "{limit: 1}"),
        ("{name: a, tag: b, limit: 1}", "DC241", "{name: a, tag: b, limit: 1}"),
        ("{name: 'tag:b', limit: 1}", "DC241", "'tag:b'"),
        ("{tag: b, limit: 1, active: true}", "DC241", "true"),
        ("{tag: a/b, limit: 1}", "DC125", "a/b"),
        ("{name: a}", "DC127", "{name: a}"),
        ("{name: a, limit: -1}", "DC124", "-1"),
        ("{name: a, limit: 1, limt: 2}", "DC120", "limt"),
        ("{name: a, limit: 1, slots: 2}", "DC121", "slots"),
        ("{name: '{{ prefect.variables.a }}', limit: 1}", "DC133", "'{{ prefect.variables.a }}'"),
    ],
)
def test_reports_mistakes_in_concurrency_limits(item: str, code: str, at: str) -> None:
    text = f"concurrency_limits: [{item}]"
    found = only(project(text)[1])
    assert found.code == code
    assert found.span is not None
    assert text_at(text, found.span) == at


def test_the_older_name_of_concurrency_limits_is_renamed() -> None:
    found = only(project("global_concurrency_limits: [{name: a, limit: 1}]")[1])
    assert (found.code, found.help) == ("DC121", "Write 'concurrency_limits'.")


@pytest.mark.parametrize("value", ["null", "[]", "{}"])
def test_an_empty_list_declares_nothing(value: str) -> None:
    assert declared(f"variables: {value}") == []


@pytest.mark.parametrize(
    ("item", "code", "at"),
    [
        ("a: {value: 1, tgas: [x]}", "DC120", "tgas"),
        ("a: {value: 1, tags: {x: 1}}", "DC128", "{x: 1}"),
        ("a: {tags: [x]}", "DC127", "{tags: [x]}"),
        ("A b: {value: 1}", "DC240", "A b"),
        ("a: {value: 1}, b: 2", "DC127", "2"),
        ("a: {value: '{{ prefect.variables.b }}'}", "DC133", "'{{ prefect.variables.b }}'"),
        ("a: {value: 'x {{ prefect.blocks.secret.b }}'}", "DC133", None),
        ("a: {value: '{{ $NOT_SET }}'}", "DC302", "'{{ $NOT_SET }}'"),
    ],
)
def test_reports_mistakes_at_their_place(item: str, code: str, at: str | None) -> None:
    text = f"variables: {{{item}}}"
    found = only(project(text)[1])
    assert found.code == code
    assert found.span is not None
    assert at is None or text_at(text, found.span) == at


def test_suggests_the_key_that_is_meant() -> None:
    found = only(project("variables: {a: {value: 1, tgas: [x]}}")[1])
    assert found.help == "Did you mean 'tags'?"


def test_placeholders_that_prefect_does_not_know_are_part_of_a_value() -> None:
    ((_, _, entry),) = declared("variables: {a: {value: 'Dear {{ customer }}'}}")
    assert entry["value"] == "Dear {{ customer }}"


def test_a_value_of_more_than_5000_characters_is_an_error() -> None:
    assert declared(f"variables: {{a: {{value: {'x' * 5000}}}}}")
    assert only(project(f"variables: {{a: {{value: {'x' * 5001}}}}}")[1]).code == "DC240"


def test_a_name_that_is_given_twice_is_an_error() -> None:
    found, report = project("""
        variables:
        - {name: a, value: 1}
        - {name: a, value: 2}
    """)
    item = only(report)
    assert (item.code, item.message) == ("DC129", "the variable 'a' is given twice")
    assert item.span is not None
    assert item.span.line == 4
    assert [each.entry["value"] for each in found.declared] == [1]


def test_a_value_that_is_secret_by_its_name_is_never_shown() -> None:
    declared("variables: {etl_token: {value: planted-by-name}, other: {value: shown}}")
    assert redact("planted-by-name shown") == f"{MASK} shown"


def test_a_name_may_refer_to_a_declared_variable() -> None:
    text = """
variables: {team: {value: etl}}
deployments:
- name: "{{ prefect.variables.team }}-daily"
  entrypoint: a.py:f
"""
    report = Report()
    found = parse_project(document(text), report, {}, ReferenceValues({}))
    assert codes(report) == []
    assert found.deployments[0].name == "etl-daily"
    assert found.deployments[0].problems == ()


def test_blocks_have_values_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "token.txt").write_text("planted-in-a-file\n")
    (tmp_path / "key.pem").write_text("first line of it\nsecond line of it\n")
    text = """
blocks:
  token: {type: secret, values: {value: "{{ $PLANTED }}"}}
  webhook: {type: webhook, values: {method: GET}, files: {url: token.txt, body: key.pem}}
"""
    found, report = in_folder(tmp_path, text, {"PLANTED": "planted-in-the-environment"})
    assert codes(report) == []
    assert [(each.kind, each.key, each.entry["values"]) for each in found.declared] == [
        ("block", ("secret", "token"), {"value": "planted-in-the-environment"}),
        (
            "block",
            ("webhook", "webhook"),
            {
                "method": "GET",
                "url": "planted-in-a-file",
                "body": "first line of it\nsecond line of it\n",
            },
        ),
    ]
    shown = repr(found.declared) + "planted-in-a-file, second line of it"
    assert "planted-in-the-environment" not in shown
    assert redact("planted-in-a-file, second line of it") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(
    ("item", "code", "at"),
    [
        ("{type: secret, files: {value: missing.txt}}", "DC242", "missing.txt"),
        ("{type: secret, files: {value: .}}", "DC242", "."),
        ("{type: secret, files: {value: binary}}", "DC242", "binary"),
        ("{type: secret, files: {value: text}, values: {value: x}}", "DC242", "text"),
        ("{values: {value: x}}", "DC127", "{values: {value: x}}"),
        ("{type: secret, valeus: {value: x}}", "DC120", "valeus"),
        ("{type: secret, value: x}", "DC121", "value"),
        ("{type: secret, values: x}", "DC128", "x"),
        (
            "{type: json, values: {value: '{{ prefect.blocks.secret.x }}'}}",
            "DC133",
            "'{{ prefect.blocks.secret.x }}'",
        ),
    ],
)
def test_reports_mistakes_in_blocks(tmp_path: Path, item: str, code: str, at: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "text").write_text("x")
    text = f"blocks: {{b: {item}}}"
    found = only(in_folder(tmp_path, text)[1])
    assert found.code == code
    assert found.span is not None
    assert text_at(text, found.span) == at


def test_flows_have_tags_and_labels() -> None:
    expected = {"name": "etl", "tags": ["a"], "labels": {"team": "x"}}
    assert declared("flows: {etl: {tags: a, labels: {team: x}}, bare: {}}") == [
        ("flow", "etl", expected)
    ]
    assert declared("flows: [{name: etl, tags: [a], labels: {team: x}}]") == [
        ("flow", "etl", expected)
    ]


@pytest.mark.parametrize(
    "value", ["[{name: etl, entrypoint: a.py:f}]", "{etl: a.py:f}", "[etl]", "{etl: {path: x}}"]
)
def test_other_lists_of_flows_are_ignored(value: str) -> None:
    found, report = project(f"flows: {value}")
    assert found.declared == ()
    item = only(report)
    assert item.code == "DC131"
    assert item.help is not None
    assert "a list of flows with 'name' and 'labels', or a mapping" in item.help


def test_blocks_of_two_types_may_have_one_name() -> None:
    listed = "blocks: [{name: a, type: secret, values: {value: b}}, {name: a, type: %s}]"
    assert len(declared(listed % "json")) == 2
    assert only(project(listed % "secret")[1]).code == "DC129"


def test_resource_of_two_files_is_an_error() -> None:
    report = Report()
    files = []
    for name, value in (("a.yaml", "eu"), ("b.yaml", "us")):
        found = parse_document(f"variables: {{region: {{value: {value}}}}}", name, report)
        assert found is not None
        files.append((found, parse_project(found, report, {}).declared))
    report = Report()
    check_same_resources(files, report)
    (problem,) = report
    assert (problem.code, str(problem.span).partition(":")[0]) == ("DC129", "b.yaml")
    assert problem.message == "the variable 'region' is also declared in a.yaml"
