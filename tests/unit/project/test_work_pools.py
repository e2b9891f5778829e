"""The work pools that a file declares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json
from deployctl.project.document import parse_document
from deployctl.project.parse import parse_project
from deployctl.project.work_pools import check_queue
from tests.unit.project.reading import codes, project


def test_work_pools() -> None:
    found, report = project("""
        work_pools:
          - name: k8s
            type: kubernetes
            base_job_template: {variables: {}}
            concurrency_limit: "5"
            paused: no
            queues: [{name: fast, priority: 1}, slow]
          - {name: plain, type: process, description: null}
    """)
    assert codes(report) == ["DC123"]
    assert [dict(pool) for pool in found.work_pools] == [
        {
            "name": "k8s",
            "type": "kubernetes",
            "base_job_template": {"variables": {}},
            "concurrency_limit": 5,
            "paused": False,
            "queues": [{"name": "fast", "priority": 1}, {"name": "slow"}],
        },
        {"name": "plain", "type": "process", "description": None},
    ]


def test_work_pools_use_the_environment_and_drop_empty_items() -> None:
    text = "work_pools: [null, {name: '{{ $POOL }}', type: t, queues: [null, 3, {name: q}]}]"
    found, report = project(text, {"POOL": "p"})
    assert [dict(pool) for pool in found.work_pools] == [
        {"name": "p", "type": "t", "queues": [{"name": "q"}]}
    ]
    assert codes(report) == ["DC126", "DC126", "DC128"]


def test_reads_a_base_job_template_from_a_file(tmp_path: Path) -> None:
    from deployctl.core.diagnostics import Report

    (tmp_path / "pool.json").write_text('{"variables": {}}')
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    text = "".join(
        f"- {{name: {name}, type: process, base_job_template: {name}.json}}\n"
        for name in ("pool", "bad", "none", "list")
    )
    report = Report()
    document = parse_document(f"work_pools:\n{text}", str(tmp_path / "prefect.yaml"), report)
    assert document is not None
    found = parse_project(document, report, {})
    assert [pool.get("base_job_template") for pool in found.work_pools] == [
        {"variables": {}},
        None,
        None,
        None,
    ]
    assert codes(report) == ["DC130"] * 3
    assert "not valid JSON" in report.items[0].message
    assert "must be a JSON object" in report.items[2].message


def test_reports_a_work_pool_without_type_and_a_duplicate() -> None:
    _, report = project("work_pools: [{name: a}, {name: b, type: t}, {name: b, type: t}]")
    assert codes(report) == ["DC127", "DC129"]


def test_reports_unsupported_placeholders_in_work_pools() -> None:
    found, report = project("""
        work_pools:
          - name: p
            type: t
            base_job_template: {image: '{{ image }}'}
            description: "takes {{ image }}"
            concurrency_limit: "{{ prefect.variables.most }}"
            queues: [{name: a, priority: "{{ first.stdout }}"}, {name: b, priority: 1}]
    """)
    assert [(str(each.span), each.code) for each in report] == [
        ("prefect.yaml:7:24", "DC133"),
        ("prefect.yaml:8:34", "DC133"),
    ]
    assert [queue["name"] for queue in found.work_pools[0]["queues"]] == ["b"]


QUEUES = [
    ("{name: a}, {name: b}", None),
    ("{name: a, priority: 1}, {name: b, priority: 2}", None),
    ("{name: a}, {name: a}", "DC129"),
    ("{name: a, priority: 1}, {name: b, priority: '1'}", "DC132"),
    ("{name: a, priority: 0}, {name: b, priority: 0}", "DC124"),
]


@pytest.mark.parametrize(("queues", "code"), QUEUES)
def test_parses_the_queues_of_a_work_pool(queues: str, code: str | None) -> None:
    _, report = project(f"work_pools:\n- name: p\n  type: t\n  queues: [{queues}]")
    assert set(codes(report)) == ({code} if code else set())


def test_a_duplicate_priority_is_reported_at_the_second_queue() -> None:
    _, report = project("""
        work_pools:
          - name: p
            type: t
            queues: [null, {name: a, priority: 3}, {name: b, priority: 3}]
          - {name: q, type: t, queues: [{name: a, priority: 3}]}
    """)
    assert [(str(each.span), each.code) for each in report if each.code != "DC126"] == [
        ("prefect.yaml:5:64", "DC132")
    ]


POOLS: list[Mapping[str, Json]] = [
    {"name": "p", "queues": [{"name": "fast"}, {"name": "slow"}]},
    {"name": "any", "type": "process"},
]


@pytest.mark.parametrize(
    ("pool", "queue", "help_"),
    [
        ("p", "fast", None),
        ("p", "default", None),
        ("p", "{{ $QUEUE }}", None),
        ("p", None, None),
        ("any", "fats", None),
        ("other", "fats", None),
        ("p", "fats", "Did you mean 'fast'?"),
        ("p", "gpu", "Declare it under 'queues', or use 'fast', 'slow' or 'default'."),
    ],
)
def test_warns_of_a_queue_that_a_declared_pool_does_not_have(
    pool: str, queue: str | None, help_: str | None
) -> None:
    found = list(check_queue({"work_pool_name": pool, "work_queue_name": queue}, POOLS))
    assert [each.help for each in found] == ([help_] if help_ else [])


def test_work_pools_by_name_are_a_list_with_the_spans_of_the_file() -> None:
    found, report = project("""
        work_pools:
          first: {type: process, queues: [a]}
          second:
            type: {a: b}
          third: {name: other, type: docker, paused: maybe}
    """)
    assert [pool["name"] for pool in found.work_pools] == ["first", "other"]
    places = [(item.code, item.span.line if item.span else 0) for item in report]
    assert sorted(places) == [("DC123", 3), ("DC128", 5), ("DC128", 6)]
    assert str(found.document.spans.value(("work_pools", 0, "name"))) == "prefect.yaml:3:3"


@pytest.mark.parametrize(
    "value", ["text", "3", "[a, b]", "{a: b}", "{a: null}", "[{size: 3}]", "'{{ x }}'"]
)
def test_work_pools_of_another_form_are_somebody_elses(value: str) -> None:
    found, report = project(f"work_pools: {value}\ndeployments: []")
    (item,) = report.items
    assert (item.code, item.severity) == ("DC131", Severity.WARNING)
    assert found.work_pools == ()


@pytest.mark.parametrize("value", ["", "[]", "{}", "[null]"])
def test_empty_work_pools_declare_none(value: str) -> None:
    found, report = project(f"work_pools: {value}\ndeployments: []")
    assert report.errors == 0
    assert found.work_pools == ()
