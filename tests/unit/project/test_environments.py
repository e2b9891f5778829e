"""`--env NAME`: what an environment changes in a file, and where its mistakes are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from deployctl.core.diagnostics import Report, Span
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json
from deployctl.project.document import Document, Environment, parse_document
from deployctl.project.environments import (
    check_name,
    project_in,
    with_environment,
    with_name_and_server,
    without_environment,
)
from deployctl.project.parse import parse_project, report_entries
from tests.unit.project.reading import codes, document, text_at

BASE = """\
deployments:
  - name: daily
    entrypoint: flows.py:etl
    tags: [etl]
    parameters: {region: us, rows: 1}
    work_pool: {name: dev, job_variables: {image: "x:1", cpu: 1}}
  - name: weekly
    entrypoint: flows.py:report
    schedule: {cron: "0 6 * * 1"}
    work_pool: dev
"""
ENVIRON = {"TAG": "2", "EMPTY": ""}


def section(body: str) -> str:
    """The base file with an environment `prod`."""
    own = body if body.startswith("{") else f"{{{body}}}"
    return f"{BASE}environments:\n  prod: {own}\n"


def read(
    text: str, name: str = "prod", beside: str | None = None, environ: Mapping[str, str] = ENVIRON
) -> tuple[Document | None, Report]:
    report = Report()
    side = parse_document(beside, f"prefect.{name}.yaml", report) if beside is not None else None
    return with_environment(document(text), name, side, environ, report), report


def deployments(text: str, name: str = "prod", beside: str | None = None) -> dict[str, Json]:
    found, report = read(text, name, beside)
    assert found is not None, report.items
    assert not report.items
    return {entry["name"]: entry for entry in found.data["deployments"]}


CHANGES: dict[str, tuple[str, str, Mapping[str, Json]]] = {
    "nothing": ("", "daily", {"tags": ["etl"], "parameters": {"region": "us", "rows": 1}}),
    "suffix": ("name_suffix: -prod", "daily-prod", {"entrypoint": "flows.py:etl"}),
    "prefix": ("name_prefix: prod-", "prod-weekly", {"entrypoint": "flows.py:report"}),
    "suffix with the name of the environment": (
        'name_suffix: "-{{ env.name }}"',
        "daily-prod",
        {},
    ),
    "work pool by name": (
        "work_pool: k8s",
        "daily",
        {"work_pool": {"name": "k8s", "job_variables": {"image": "x:1", "cpu": 1}}},
    ),
    "work pool that was only a name": (
        "work_pool: {work_queue_name: fast}",
        "weekly",
        {"work_pool": {"name": "dev", "work_queue_name": "fast"}},
    ),
    "job variables of all": (
        "job_variables: {cpu: 2}",
        "daily",
        {"work_pool": {"name": "dev", "job_variables": {"image": "x:1", "cpu": 2}}},
    ),
    "parameters of all": (
        "parameters: {rows: 9}",
        "weekly",
        {"parameters": {"rows": 9}},
    ),
    "paused": ("paused: true", "weekly", {"paused": True}),
    "null changes nothing of all": ("{paused: null, tags: null}", "daily", {"tags": ["etl"]}),
    "tags are added once": ("tags: [prod, etl]", "daily", {"tags": ["etl", "prod"]}),
    "one tag as text": ("tags: prod", "weekly", {"tags": ["prod"]}),
    "a deployment's mappings are merged": (
        "deployments: {daily: {parameters: {rows: 2}}}",
        "daily",
        {"parameters": {"region": "us", "rows": 2}},
    ),
    "a deployment's lists are replaced, then tags added": (
        "{tags: [prod], deployments: {daily: {tags: [b]}}}",
        "daily",
        {"tags": ["b", "prod"]},
    ),
    "a deployment counts more than all": (
        "{paused: true, deployments: {daily: {paused: false}}}",
        "daily",
        {"paused": False},
    ),
    "null of a deployment replaces": (
        "deployments: {daily: {parameters: null}}",
        "daily",
        {"parameters": None},
    ),
    "schedules replace the older form": (
        'deployments: {weekly: {schedules: [{cron: "0 7 * * *"}]}}',
        "weekly",
        {"schedules": [{"cron": "0 7 * * *"}], "schedule": "absent"},
    ),
    "a pattern of deployments": (
        "deployments: {'*ly': {version: '2'}}",
        "weekly",
        {"version": "2"},
    ),
    "names of deployments are those of the file": (
        "{name_suffix: -p, deployments: {daily: {version: '2'}}}",
        "daily-p",
        {"version": "2"},
    ),
    "variables of the environment": (
        'deployments: {daily: {parameters: {a: "${TAG}", b: "v${TAG}-${NO:-none}${EMPTY:-x}"}}}',
        "daily",
        {"parameters": {"region": "us", "rows": 1, "a": "2", "b": "v2-nonex"}},
    ),
    "a variable that is not one": (
        'deployments: {daily: {description: "$${TAG} $TAG $$"}}',
        "daily",
        {"description": "${TAG} $TAG $$"},
    ),
    "values keep their type": (
        "{values: {n: 7, m: {a: [1]}}, "
        'deployments: {daily: {parameters: {a: "{{ env.n }}", b: "n={{ env.n }}", '
        'c: "{{ env.m }}", d: "{{ env.m.a[0] }}"}}}}',
        "daily",
        {"parameters": {"region": "us", "rows": 1, "a": 7, "b": "n=7", "c": {"a": [1]}, "d": 1}},
    ),
    "values of values": (
        '{values: {n: "${TAG}-{{ env.name }}"}, name_suffix: "-{{ env.n }}"}',
        "daily-2-prod",
        {},
    ),
}


@pytest.mark.parametrize(("body", "name", "expected"), CHANGES.values(), ids=CHANGES)
def test_changes_deployments(body: str, name: str, expected: Mapping[str, Json]) -> None:
    found = deployments(section(body))[name]
    assert {key: found.get(key, "absent") for key in expected} == expected


def test_fills_values_into_the_whole_file_but_not_into_anchors() -> None:
    text = section("values: {region: eu}") + textwrap.dedent(
        """\
        work_pools: [{name: "k8s-{{ env.region }}", type: process}]
        x-a: {a: "{{ env.other }}"}
        """
    )
    found, report = read(text)
    assert found is not None, report.items
    assert found.data["work_pools"] == [{"name": "k8s-eu", "type": "process"}]
    assert found.data["x-a"] == {"a": "{{ env.other }}"}
    assert "environments" not in found.data
    assert found.environment == Environment("prod")


def test_without_environment_the_file_stays_as_it_is() -> None:
    report = Report()
    before = document(section("name_suffix: -prod"))
    assert without_environment(before, report) is before
    assert not report.items


WITHOUT = {
    "a misspelt key": (f"{BASE}environments: {{a: {{nam_suffix: x}}}}\n", ["DC120"], True),
    "no mapping": (f"{BASE}environments: [a]\n", ["DC131"], True),
    "a value of an environment": (
        section("{}").replace("region: us", 'region: "{{ env.region }}"'),
        ["DC142"],
        False,
    ),
    "no mapping, and a value of an environment": (
        f"{BASE}environments: 5\n".replace("region: us", 'region: "{{ env.region }}"'),
        ["DC131"],
        True,
    ),
    "a list, and a value of an environment": (
        f"{BASE}environments: [{{name: prod}}]\n".replace(
            "region: us", 'region: "{{ env.region }}"'
        ),
        ["DC131"],
        True,
    ),
    "a step called env": (BASE.replace("region: us", 'region: "{{ env.region }}"'), [], True),
}


@pytest.mark.parametrize(("text", "expected", "is_usable"), WITHOUT.values(), ids=WITHOUT)
def test_reports_mistakes_without_environment(
    text: str, expected: list[str], is_usable: bool
) -> None:
    report = Report()
    assert (without_environment(document(text), report) is not None) == is_usable
    assert codes(report) == expected


MISTAKES = {
    "unknown environment": (
        "name_suffix: x",
        "prd",
        "DC140",
        "environments",
        "Did you mean 'prod'?",
    ),
    "unknown key": ("nam_suffix: x", "prod", "DC120", "nam_suffix", "Did you mean 'name_suffix'?"),
    "wrong type": ("tags: {a: 1}", "prod", "DC128", "{a: 1}", None),
    "unknown deployment": (
        "deployments: {dail: {}}",
        "prod",
        "DC141",
        "dail",
        "Did you mean 'daily'?",
    ),
    "a pattern without deployments": (
        "deployments: {x-*: {}}",
        "prod",
        "DC141",
        "x-*",
        "It has 'daily', 'weekly'.",
    ),
    "unknown value": (
        '{values: {region: eu}, name_suffix: "{{ env.regin }}"}',
        "prod",
        "DC142",
        '"{{ env.regin }}"',
        "Did you mean 'region'?",
    ),
    "a value of a value": (
        '{values: {a: "{{ env.b }}", b: 1}}',
        "prod",
        "DC142",
        '"{{ env.b }}"',
        "It has 'name'. Add 'b' below 'values:' of the environment.",
    ),
    "a mapping in a text": (
        '{values: {a: {}}, name_suffix: "-{{ env.a }}"}',
        "prod",
        "DC142",
        '"-{{ env.a }}"',
        "Let it be the whole value, or name one value of it.",
    ),
    "the name as a value": ("values: {name: a}", "prod", "DC142", "a", "Rename it."),
    "a variable that is not set": (
        'name_suffix: "${NO}"',
        "prod",
        "DC143",
        '"${NO}"',
        "Set NO where deployctl runs, or write ${NO:-default}.",
    ),
    "an unknown form of variable": (
        'name_suffix: "${NO:?}"',
        "prod",
        "DC143",
        '"${NO:?}"',
        "Correct it, or write $${ for the text itself.",
    ),
    "no URL": ("api_url: localhost", "prod", "DC124", "localhost", None),
    "values that are no mapping": ("values: [a]", "prod", "DC128", "[a]", None),
    "a template as URL": (
        'api_url: "{{ $URL }}"',
        "prod",
        "DC133",
        '"{{ $URL }}"',
        "Write ${NAME} for an environment variable.",
    ),
}


@pytest.mark.parametrize(
    ("body", "name", "code", "place", "help_"), MISTAKES.values(), ids=MISTAKES
)
def test_reports_mistakes_at_their_place(
    body: str, name: str, code: str, place: str, help_: str | None
) -> None:
    text = section(body)
    found, report = read(text, name)
    assert codes(report) == [code]
    (only,) = report.items
    assert only.span is not None
    assert text_at(text, only.span) == place
    assert help_ is None or (only.help or "").startswith(help_)
    assert code == "DC141" or found is None


def test_environment_of_a_file_without_any_is_an_error() -> None:
    found, report = read(BASE)
    assert found is None
    assert [item.message for item in report] == [
        "prefect.yaml has no environments, so there is no 'prod'"
    ]


def test_environment_that_is_no_mapping_is_an_error() -> None:
    found, report = read(f"{BASE}environments: {{prod: 5}}\n", beside="tags: [a]\n")
    assert (found, codes(report)) == (None, ["DC128"])


def test_reads_only_the_server_for_a_command_without_deployments() -> None:
    text = section('{api_url: "http://${TAG}/api", name_suffix: "${NO}", deployments: {x: {}}}')
    report = Report()
    found = with_name_and_server(document(text), "prod", None, ENVIRON, report)
    assert found is not None
    assert found.environment == Environment("prod", "http://2/api")
    assert not report.items


def test_exact_name_comes_before_patterns_and_patterns_in_their_order() -> None:
    text = f"{BASE}environments:\n" + textwrap.indent(
        'pr-1*: {name_suffix: "-ten"}\npr-*: {name_suffix: "-{{ env.name }}"}\npr-12:\n', "  "
    )
    assert "daily-pr-7" in deployments(text, "pr-7")
    assert "daily-ten" in deployments(text, "pr-10")
    assert "daily" in deployments(text, "pr-12")
    assert read(text, "pr")[0] is None


def test_file_beside_is_merged_into_the_section() -> None:
    text = section("{name_suffix: -p, tags: [a], deployments: {daily: {parameters: {rows: 2}}}}")
    beside = "tags: [b]\ndeployments: {daily: {parameters: {region: eu}}}\n"
    found = deployments(text, beside=beside)["daily-p"]
    assert found["tags"] == ["etl", "b"]
    assert found["parameters"] == {"region": "eu", "rows": 2}


def test_file_beside_needs_no_section() -> None:
    assert "daily-p" in deployments(BASE, beside="name_suffix: -p\n")


def test_values_keep_the_position_of_the_file_that_they_come_from() -> None:
    beside = 'deployments:\n  daily:\n    schedules: [{cron: "61 * * * *"}]\n    parametrs: {}\n'
    found, report = read(section("deployments: {daily: {paused: maybe}}"), beside=beside)
    assert found is not None
    project = parse_project(found, report, {})
    report_entries(project.deployments, report)
    places = {item.code: item.span for item in report if item.span}
    assert places["DC128"].file == "prefect.yaml"
    assert text_at(found.text, places["DC128"]) == "maybe"
    assert places["DC120"] == Span("prefect.prod.yaml", 4, 5, 4, 14)
    cron = next(item.span for item in report if "cron" in item.message)
    assert cron is not None
    assert (cron.file, cron.line) == ("prefect.prod.yaml", 3)
    assert not any(item.fix for item in report)


def test_aliases_of_changed_values_stay_as_they_are() -> None:
    text = BASE.replace("parameters: {", "parameters: &p {") + textwrap.dedent(
        """\
          - {name: third, entrypoint: "flows.py:etl", parameters: *p}
        environments:
          prod: {deployments: {daily: {parameters: {rows: 5}}}}
        """
    )
    found = deployments(text)
    assert found["daily"]["parameters"] == {"region": "us", "rows": 5}
    assert found["third"]["parameters"] == {"region": "us", "rows": 1}


def test_name_of_an_environment_is_part_of_files_and_records() -> None:
    for name in ("../x", "", "a/b", "-x", "a@b", "a b"):
        with pytest.raises(UsageError):
            check_name(name)
    check_name("pr-123_a.b")
    assert project_in("etl", Environment("prod")) == "etl@prod"
    assert project_in("etl", None) == "etl"


def test_former_names_are_those_of_the_environment() -> None:
    text = section("name_prefix: a-, name_suffix: -b").replace(
        "name: daily\n", "name: daily\n    renamed_from: f/old\n", 1
    )
    assert deployments(text)["a-daily-b"]["renamed_from"] == "f/a-old-b"
