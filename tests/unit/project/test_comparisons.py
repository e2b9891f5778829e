"""For every field that plans compare: values that mean the same, and values that differ.

Each case is (desired, what the server answers). The answers were seen on Prefect 3.9.1 and 2.20.26.
"""

from __future__ import annotations

from typing import TypeAlias

import pytest
from _pytest.mark import ParameterSet

from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from deployctl.deploy.resources.blocks import OTHER
from deployctl.project.comparisons import never_differs
from deployctl.project.resources import RESOURCES, fields_of
from deployctl.project.triggers import automations

Case: TypeAlias = tuple[Json, Json]

STORED_AS_IT_IS: tuple[list[Case], list[Case]] = (
    [
        ({"n": 1, "f": 1.5, "b": True, "z": None}, {"z": None, "b": True, "f": 1.5, "n": 1}),
        ({"n": [1, {"a": 2.0}]}, {"n": [1, {"a": 2.0}]}),
        ({"n": 1e16}, {"n": 10_000_000_000_000_000}),
    ],
    [
        ({"n": 1}, {"n": 1.0}),
        ({"n": 1}, {"n": True}),
        ({"n": 0}, {"n": False}),
        ({"n": "1"}, {"n": 1}),
        ({"n": [1, 2]}, {"n": [2, 1]}),
        ({"n": {"a": 1}}, {"n": {"a": 1, "b": 2}}),
        ({"n": {"a": [{"b": 1}]}}, {"n": {"a": [{"b": True}]}}),
        ({"n": None}, {"m": None}),
    ],
)
"""(the same, different) of values that the server stores as they are."""
EMPTY: list[Case] = [({}, None), (None, {})]

TEXT: tuple[list[Case], list[Case]] = ([("a", "a")], [("a", "A"), ("1", None), (None, "a")])
FLAG: tuple[list[Case], list[Case]] = ([(True, True)], [(True, False), (False, None)])
LIMIT: tuple[list[Case], list[Case]] = ([(3, 3), (None, None)], [(3, 2), (0, None), (None, 1)])

ANCHOR = "2026-01-01T00:00:00Z"
TIMES: tuple[list[Case], list[Case]] = (
    [
        ({"cron": "0 1 * * *"}, {"cron": "0  1 * * *", "timezone": "UTC", "day_or": True}),
        ({"interval": 3600}, {"interval": 3600.0, "anchor_date": ANCHOR, "timezone": "UTC"}),
        (
            {"interval": 60.0, "anchor_date": "2026-01-01T01:00:00+01:00"},
            {"interval": 60.0, "anchor_date": ANCHOR, "timezone": "UTC"},
        ),
        ({"rrule": "RRULE:FREQ=DAILY"}, {"rrule": "DTSTART:20200101T000000\nFREQ=DAILY"}),
    ],
    [
        ({"cron": "0 1 * * *"}, {"cron": "0 2 * * *"}),
        ({"cron": "0 1 * * *"}, {"cron": "0 1 * * *", "timezone": "Asia/Taipei"}),
        ({"cron": "0 1 1 * 1", "day_or": False}, {"cron": "0 1 1 * 1", "day_or": True}),
        ({"cron": "0 1 * * *"}, {"interval": 3600.0}),
        ({"interval": 60.0}, {"interval": 61.0}),
        ({"interval": 60.0, "anchor_date": ANCHOR}, {"interval": 60.0}),
        ({"rrule": "FREQ=DAILY"}, {"rrule": "FREQ=WEEKLY"}),
        ({"rrule": "DTSTART:20260101T000000\nFREQ=DAILY"}, {"rrule": "FREQ=DAILY"}),
        ({"cron": "0 1 * * *"}, None),
    ],
)


def trigger(**keys: Json) -> Json:
    """The trigger of an automation, as it is sent."""
    (body,) = automations("d", [keys])
    return body["trigger"]


def answered(desired: Json, **changes: Json) -> Json:
    """What the server answers: with ids, and with numbers in its own types."""
    found = {**desired, "id": "00000000-0000-0000-0000-000000000001"}
    if desired.get("within") is not None:
        found["within"] = float(desired["within"])
    if "triggers" in desired:
        found["triggers"] = [answered(each) for each in desired["triggers"]]
    return {**found, **changes}


EVENT = trigger(
    expect=["a", "b"],
    match={"a": "1", "env": ["x", "y"]},
    match_related={"role": "flow"},
    for_each=["q", "p"],
    after=["z"],
    threshold=2,
    within=5,
)
BOTH = trigger(type="compound", require="all", triggers=[{"expect": ["a"], "match": {"k": "1"}}])
RELATED = trigger(expect=["a"], match_related=[{"a": "1"}, {"b": ["1", "2"]}])
METRIC = trigger(metric={"name": "lateness", "threshold": 3, "operator": "<"}, posture="Metric")
TRIGGERS: tuple[list[Case], list[Case]] = (
    [
        (EVENT, answered(EVENT)),
        (EVENT, answered(EVENT, expect=["b", "a"], for_each=["p", "q"])),
        (EVENT, answered(EVENT, match={"env": ["y", "x"], "a": "1"})),
        (EVENT, answered(EVENT, key_of_a_newer_server=True)),
        (trigger(expect=["a"], match={"a": 1}), answered(trigger(expect=["a"], match={"a": "1"}))),
        (BOTH, answered(BOTH)),
        (RELATED, answered(RELATED)),
        (METRIC, answered(METRIC, metric={**METRIC["metric"], "threshold": 3.0})),
    ],
    [
        (EVENT, answered(EVENT, match={"a": "1", "env": ["x", "y"], "more": "1"})),
        (EVENT, answered(EVENT, match={"a": "1"})),
        (EVENT, answered(EVENT, match={"a": "1", "env": ["x", "y", "z"]})),
        (EVENT, answered(EVENT, match_related={"role": "flow", "more": "1"})),
        (trigger(expect=["a"]), answered(trigger(expect=["a"], match={"a": "1"}))),
        (EVENT, answered(EVENT, expect=["a"])),
        (EVENT, answered(EVENT, expect=["a", "b", "c"])),
        (EVENT, answered(EVENT, after=[])),
        (EVENT, answered(EVENT, threshold=3)),
        (EVENT, answered(EVENT, within=6.0)),
        (EVENT, answered(EVENT, posture="Proactive")),
        (EVENT, answered(BOTH)),
        (BOTH, answered({**BOTH, "triggers": BOTH["triggers"] * 2})),
        (BOTH, answered({**BOTH, "triggers": [{**BOTH["triggers"][0], "match": {}}]})),
        (
            BOTH,
            answered(
                {**BOTH, "triggers": [{**BOTH["triggers"][0], "match": {"k": "1", "l": "2"}}]}
            ),
        ),
        (BOTH, answered(BOTH, require="any")),
        (BOTH, answered(BOTH, within=10.0)),
        (RELATED, answered(RELATED, match_related=[{"a": "1"}])),
        (RELATED, answered(RELATED, match_related=[{"a": "1"}, {"b": ["1", "2"], "c": "3"}])),
        (METRIC, answered(METRIC, metric={**METRIC["metric"], "operator": ">"})),
        (EVENT, None),
    ],
)


def action(**keys: Json) -> Json:
    """The actions of an automation, as they are sent."""
    (body,) = automations("d", [{"expect": ["a"], **keys}])
    return body["actions"]


def action_cases() -> tuple[list[Case], list[Case]]:
    """Actions: parameters and job variables are compared as a whole."""
    plain, delayed = action(), action(schedule_after=3)
    known = {k: v for k, v in plain[0].items() if k != "schedule_after"}
    same: list[Case] = [
        (plain, [{**plain[0], "deployment_id": "d-1"}]),
        (plain, [{**plain[0], "parameters": {}}]),
        (plain, [known]),
        (delayed, [{**delayed[0], "schedule_after": 3.0}]),
    ]
    different: list[Case] = [
        (plain, []),
        (plain, [plain[0], plain[0]]),
        (plain, None),
        (delayed, [{**delayed[0], "schedule_after": 4.0}]),
        (plain, [{**plain[0], "source": "inferred"}]),
    ]
    for key in ("parameters", "job_variables"):
        for cases, values in zip((same, different), STORED_AS_IT_IS, strict=True):
            cases += [
                (action(**{key: desired}), [{**plain[0], key: current}])
                for desired, current in values
            ]
        different.append((action(), [{**plain[0], key: {"a": 1}}]))
    return same, different


def with_empty(cases: tuple[list[Case], list[Case]]) -> tuple[list[Case], list[Case]]:
    """The cases of a mapping for which the server may answer null."""
    return [*cases[0], *EMPTY], [*cases[1], ({}, {"a": 1}), ({"a": 1}, None)]


def listed(cases: list[Case]) -> list[Case]:
    """The cases as items of a list."""
    return [([desired], [current]) for desired, current in cases]


MAPPING = with_empty(STORED_AS_IT_IS)
SHOWN: tuple[list[Case], list[Case]] = (
    [*TEXT[0], ("", None), (None, "")],
    [("a", "b"), (None, "a"), ("", "a")],
)
TAGS: tuple[list[Case], list[Case]] = (
    [(["a", "b"], ["b", "a"]), ([], None), (None, [])],
    [(["a"], []), (["a"], ["a", "b"]), (["a"], ["A"])],
)
FIELDS: dict[str, dict[str, tuple[list[Case], list[Case]]]] = {
    "variable": {
        "value": (
            [("a", "a"), (1.0, 1), ({"a": [1.0, None]}, {"a": [1, None]}), (None, None)],
            [(1, True), ("1", 1), ({"a": 1}, {"a": True}), ([1, 2], [2, 1]), ([1], [1, 2])],
        ),
        "tags": TAGS,
    },
    "global_concurrency_limit": {
        "limit": LIMIT,
        "active": FLAG,
        "slot_decay_per_second": ([(1.0, 1), (0, 0.0)], [(0.5, 0.25), (0, None)]),
    },
    "tag_concurrency_limit": {"concurrency_limit": LIMIT},
    "flow": {"tags": TAGS, "labels": MAPPING},
    "block": {"values": ([({"a": MASK}, {"a": MASK})], [({"a": MASK}, {"a": OTHER})])},
    "work_pool": {
        "base_job_template": STORED_AS_IT_IS,
        "description": SHOWN,
        "concurrency_limit": LIMIT,
        "is_paused": FLAG,
    },
    "work_queue": {
        "description": SHOWN,
        "priority": LIMIT,
        "concurrency_limit": LIMIT,
        "is_paused": FLAG,
    },
    "deployment": {
        "entrypoint": TEXT,
        "version": TEXT,
        "description": ([*SHOWN[0], (None, "None"), ("", "None")], SHOWN[1]),
        "tags": TAGS,
        "parameters": MAPPING,
        "job_variables": MAPPING,
        "parameter_openapi_schema": MAPPING,
        "pull_steps": (
            [*listed(STORED_AS_IT_IS[0]), ([], []), (None, None), ([], None)],
            [*listed(STORED_AS_IT_IS[1]), ([], [{"a": {}}]), ([{"a": {}}], [{"a": {}}, {"b": {}}])],
        ),
        "enforce_parameter_schema": FLAG,
        "paused": FLAG,
        "concurrency_limit": LIMIT,
        "concurrency_options": (
            [
                (
                    {"collision_strategy": "ENQUEUE"},
                    {"collision_strategy": "ENQUEUE", "grace_period_seconds": None},
                ),
                (None, None),
                (None, {"collision_strategy": None}),
            ],
            [
                ({"collision_strategy": "ENQUEUE"}, {"collision_strategy": "CANCEL_NEW"}),
                ({"collision_strategy": "ENQUEUE"}, None),
                (
                    {"collision_strategy": "ENQUEUE"},
                    {"collision_strategy": "ENQUEUE", "grace_period_seconds": 60},
                ),
                (None, {"collision_strategy": "ENQUEUE"}),
            ],
        ),
        "work_pool_name": TEXT,
        "work_queue_name": TEXT,
    },
    "schedule": {
        "schedule": TIMES,
        "active": FLAG,
        "parameters": MAPPING,
        "slug": TEXT,
        "max_scheduled_runs": LIMIT,
    },
    "automation": {
        "description": SHOWN,
        "enabled": FLAG,
        "tags": ([([], []), (["a"], ["a"])], [([], ["a"]), (["a"], [])]),
        "trigger": TRIGGERS,
        "actions": action_cases(),
    },
}


def cases(outcome: int) -> list[ParameterSet]:
    return [
        pytest.param(kind, name, desired, current, id=f"{kind}.{name}-{number}")
        for kind, fields in FIELDS.items()
        for name, both in fields.items()
        for number, (desired, current) in enumerate(both[outcome])
    ]


@pytest.mark.parametrize(("kind", "name", "desired", "current"), cases(0))
def test_values_that_mean_the_same_are_no_change(
    kind: str, name: str, desired: Json, current: Json
) -> None:
    assert fields_of(kind)[name].same(desired, current)


@pytest.mark.parametrize(("kind", "name", "desired", "current"), cases(1))
def test_values_that_differ_are_a_change(
    kind: str, name: str, desired: Json, current: Json
) -> None:
    assert not fields_of(kind)[name].same(desired, current)


def test_every_compared_field_has_cases_of_both_outcomes() -> None:
    for kind in RESOURCES:
        compared = {
            name
            for name, field in fields_of(kind).items()
            if field.managed and field.same is not never_differs
        }
        assert compared == FIELDS.get(kind, {}).keys(), kind
