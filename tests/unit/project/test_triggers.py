"""Triggers: what is wrong with them, and the automations that `prefect deploy` makes of them."""

from __future__ import annotations

import json

import pytest

from deployctl.core.json_values import Json
from deployctl.project.normalize import normalize
from deployctl.project.triggers import automations, check_triggers
from tests.unit.project.reading import codes, deployment, only

EVENT: Json = {
    "type": "event",
    "match": {},
    "match_related": {},
    "after": [],
    "expect": ["a"],
    "for_each": [],
    "posture": "Reactive",
    "threshold": 1,
    "within": 0.0,
}
METRIC: Json = {
    "type": "metric",
    "match": {},
    "match_related": {},
    "posture": "Metric",
    "metric": {
        "name": "duration",
        "threshold": 1.0,
        "operator": ">",
        "range": 300.0,
        "firing_for": 300.0,
    },
}


def bodies(triggers: list[Json]) -> list[dict[str, Json]]:
    found, report = deployment(f"triggers: {json.dumps(triggers)}")
    assert not report.errors, report.items
    return automations("dep", normalize(found.deployments[0].raw)[0]["triggers"])


SENT = [
    ({"expect": ["a"]}, EVENT),
    ({"expect": "a"}, EVENT),
    ({"type": "event", "expect": ["a", "a"], "threshold": "3"}, {**EVENT, "threshold": 3}),
    ({"posture": "Proactive", "expect": ["a"]}, {**EVENT, "posture": "Proactive", "within": 10.0}),
    (
        {
            "expect": ["a"],
            "match": {"x": "y"},
            "match_related": {"q": ["1", "2"]},
            "after": ["z"],
            "for_each": ["l"],
            "posture": "Proactive",
            "within": "PT1M",
        },
        {
            **EVENT,
            "match": {"x": "y"},
            "match_related": {"q": ["1", "2"]},
            "after": ["z"],
            "for_each": ["l"],
            "posture": "Proactive",
            "within": 60.0,
        },
    ),
    (
        {"expect": ["a"], "match_related": [{"a": "b"}, {"c": "d"}]},
        {**EVENT, "match_related": [{"a": "b"}, {"c": "d"}]},
    ),
    (
        {"posture": "Metric", "metric": {"name": "duration", "threshold": 1, "operator": ">"}},
        METRIC,
    ),
    (
        {"type": "compound", "require": "any", "within": 3600.5, "triggers": [{"expect": ["a"]}]},
        {"type": "compound", "triggers": [EVENT], "within": 3600.5, "require": "any"},
    ),
    (
        {"require": "1", "triggers": [{"type": "event", "expect": ["a"]}]},
        {"type": "compound", "triggers": [EVENT], "within": None, "require": 1},
    ),
    (
        {"triggers": [{"type": "event", "expect": ["a"]}]},
        {"type": "sequence", "triggers": [EVENT], "within": None},
    ),
]


@pytest.mark.parametrize(("spec", "trigger"), SENT)
def test_converts_a_trigger_as_prefect_deploy_does(spec: Json, trigger: Json) -> None:
    assert bodies([spec])[0]["trigger"] == trigger


@pytest.mark.parametrize("inner", ["{}", "{foo: 1}", "{expect: null}"])
def test_keeps_an_empty_inner_trigger(inner: str) -> None:
    _, report = deployment(f"triggers: [{{require: all, triggers: [{inner}]}}]")
    assert codes(report)[-1] == "DC230"


def test_an_automation_has_prefects_defaults() -> None:
    first, second = bodies([{"expect": ["a"]}, {"expect": ["a"], "name": "n"}])
    assert (first["name"], second["name"]) == ("dep__automation_1", "n")
    assert first == {
        "name": "dep__automation_1",
        "description": "",
        "enabled": True,
        "trigger": EVENT,
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": None,
                "parameters": None,
                "job_variables": None,
                "schedule_after": 0.0,
            }
        ],
        "actions_on_trigger": [],
        "actions_on_resolve": [],
    }


def test_an_automation_has_the_fields_of_its_trigger() -> None:
    spec = {
        "expect": ["a"],
        "description": "d",
        "enabled": "no",
        "parameters": {"p": "{{ event.id }}"},
        "job_variables": {"i": 1},
        "schedule_after": "PT1H",
    }
    (body,) = bodies([spec])
    (action,) = body["actions"]
    assert (body["description"], body["enabled"]) == ("d", False)
    assert action["parameters"] == {"p": "{{ event.id }}"}
    assert action["job_variables"] == {"i": 1}
    assert action["schedule_after"] == 3600.0


WRONG = [
    ("{type: event, expect: []}", "DC230"),
    ("{type: event}", "DC230"),
    ("{type: event, expect: }", "DC230"),
    ("{require: any, triggers: [{match: {a: b}}]}", "DC230"),
    ("{expect: [a], posture: Proactive, within: 5}", "DC231"),
    ("{require: 2, triggers: [{expect: [a]}]}", "DC232"),
    ("{require: some, triggers: [{expect: [a]}]}", "DC232"),
    ("{type: compound, triggers: [{expect: [a]}]}", "DC127"),
    ("{type: metric}", "DC127"),
    ("{type: metric, metric: {name: x, threshold: 1, operator: '!'}}", "DC124"),
    (
        "{type: metric, metric: {name: duration, threshold: 1, operator: '<', range: 5}}",
        "DC124",
    ),
    ("{type: evnt, expect: [a]}", "DC124"),
    ("{expect: a}", "DC123"),
    ("{expect: [a], within: soon}", "DC128"),
    ("{expect: [a], name: n, thresold: 2}", "DC120"),
    ("{require: any, triggers: [{expect: [a], name: n}]}", "DC120"),
    ("{expect: [a], enabled: }", "DC126"),
]


@pytest.mark.parametrize(("text", "code"), WRONG)
def test_reports_problems_of_a_trigger(text: str, code: str) -> None:
    assert only(deployment(f"triggers: [{text}]")[1]).code == code


def test_a_misspelt_expect_is_reported_with_its_effect() -> None:
    _, report = deployment("triggers: [{type: event, expct: [a]}]")
    assert codes(report) == ["DC120", "DC230"]
    assert report.errors == 2


def test_accepts_a_trigger_for_every_event() -> None:
    assert not deployment("triggers: [{expect: ['*']}]")[1].items


def test_accepts_a_template_for_a_value() -> None:
    text = "triggers: [{expect: [a], enabled: '{{ prefect.variables.on }}'}]"
    assert not deployment(text)[1].items


@pytest.mark.parametrize(
    ("triggers", "places"),
    [
        ([{"name": "x"}, {"name": "y"}], []),
        ([{"name": "x"}, {"name": "x"}, {"name": "x"}], [(1, "name"), (2, "name")]),
        ([{"name": "d__automation_2"}, {}], [(1, "name")]),
        ([{}, {"name": "d__automation_1"}], [(1, "name")]),
        ([{"name": "d__automation_2"}, None, {}], [(2, "name")]),
        ([{"name": "{{ a }}"}, {"name": "{{ a }}"}], []),
        (["{{ a }}", {"name": "d__automation_1"}], []),
    ],
)
def test_reports_duplicate_names_of_automations(triggers: list[Json], places: list[Json]) -> None:
    expecting = [{**t, "expect": ["a"]} if isinstance(t, dict) else t for t in triggers]
    found = list(check_triggers(expecting, "d"))
    assert [(problem.code, problem.path) for problem in found] == [("DC233", at) for at in places]


def test_a_duplicate_name_is_reported_at_the_second() -> None:
    _, report = deployment("triggers:\n  - {name: x, expect: [a]}\n  - {name: x, expect: [b]}\n")
    found = only(report)
    assert found.code == "DC233"
    assert found.span is not None
    assert (found.span.line, found.span.column) == (6, 16)


def test_metric_triggers_take_any_metric() -> None:
    """Prefect 3.9 does: its Cloud may know more metrics than we."""
    metric = "{name: queue_depth, threshold: 1, operator: '<'}"
    found, report = deployment(f"triggers: [{{type: metric, metric: {metric}}}]")
    assert not report.items
    (body,) = automations("d", found.deployments[0].fields["triggers"])
    assert body["trigger"]["metric"]["name"] == "queue_depth"
