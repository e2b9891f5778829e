"""Plans of schedules: how desired and current ones are paired, and what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment
from deployctl.deploy.last_applied import LastApplied
from deployctl.deploy.model import Op
from deployctl.deploy.plan import compare
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.templating.values import Unknown
from tests.unit.deploy.answers import CODE, KEY, NOTHING, V3, change, cron, live, schedule


def test_unknown_schedule_is_a_change() -> None:
    unknown: Json = [{"schedule": {"cron": Unknown("build", "cron")}}]
    found = change({"schedules": unknown}, live(schedules=[cron("s1", "0 1 * * *")]))
    assert [child.op for child in found.children] == [Op.UPDATE]


def test_undeclared_schedules_stay() -> None:
    assert not change({}, live(schedules=[cron("s1", "0 1 * * *")])).is_needed


def test_empty_list_removes_schedules() -> None:
    found = change({"schedules": []}, live(schedules=[cron("s1", "0 1 * * *", slug="a")]))
    assert [(child.op, child.current and child.current.id) for child in found.children] == [
        (Op.DELETE, "s1")
    ]


def test_schedules_that_are_no_longer_declared_are_removed() -> None:
    have = live(schedules=[cron("s1", "0 1 * * *")])
    found = change({}, have, declared=frozenset({"schedule"}))
    assert [child.op for child in found.children] == [Op.DELETE]


@pytest.mark.parametrize(
    ("desired_list", "there", "ops"),
    [
        pytest.param(
            [{"schedule": {"cron": "0 2 * * *"}}],
            [cron("s1", "0 1 * * *", active=False)],
            [("s1", Op.UPDATE)],
            id="an edited schedule keeps its id and its toggle",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 2 * * *"}, "slug": "a"}],
            [cron("s1", "0 1 * * *", slug="a"), cron("s2", "0 2 * * *", slug="b")],
            [("s1", Op.UPDATE), ("s2", Op.DELETE)],
            id="the slug decides, not the content",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "slug": "a"}],
            [cron("s1", "0 1 * * *")],
            [("s1", Op.UPDATE)],
            id="a schedule that gets a slug stays",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 9 * * *"}, "slug": "new", "replaces": "old"}],
            [cron("s1", "0 1 * * *", slug="old"), cron("s2", "0 9 * * *", slug="x")],
            [("s1", Op.UPDATE), ("s2", Op.DELETE)],
            id="a replaced slug is renamed",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}}, {"schedule": {"cron": "0 1 * * *"}}],
            [cron("s1", "0 1 * * *")],
            [("s1", Op.NONE), (None, Op.CREATE)],
            id="equal schedules are counted",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 3 * * *"}}, {"schedule": {"cron": "0 1 * * *"}}],
            [cron("s1", "0 1 * * *"), cron("s2", "0 2 * * *")],
            [("s2", Op.UPDATE), ("s1", Op.NONE)],
            id="equal ones are matched before edited ones",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "active": True}],
            [cron("s1", "0 1 * * *", active=False)],
            [("s1", Op.UPDATE)],
            id="a declared toggle is enforced",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 2}}],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}, active=False),
                cron("s2", "0 1 * * *", parameters={"x": 2}),
            ],
            [("s2", Op.NONE), ("s1", Op.DELETE)],
            id="equal times are distinguished by parameters",
        ),
        pytest.param(
            [
                {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 2}},
                {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 1}},
            ],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}, active=False),
                cron("s2", "0 1 * * *", parameters={"x": 2}),
            ],
            [("s2", Op.NONE), ("s1", Op.NONE)],
            id="a new order in the file is no change",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": True}}],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}),
                cron("s2", "0 1 * * *", parameters={"x": True}),
            ],
            [("s2", Op.NONE), ("s1", Op.DELETE)],
            id="parameters are distinguished by type",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 1 * * *"}}],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}, active=False),
                cron("s2", "0 1 * * *"),
            ],
            [("s2", Op.NONE), ("s1", Op.DELETE)],
            id="no parameters are those of the schedule without any",
        ),
        pytest.param(
            [
                {"schedule": {"cron": "0 2 * * *"}, "parameters": {"x": 2}},
                {"schedule": {"cron": "0 2 * * *"}, "parameters": {"x": 1}},
            ],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}, active=False),
                cron("s2", "0 1 * * *", parameters={"x": 2}),
            ],
            [("s2", Op.UPDATE), ("s1", Op.UPDATE)],
            id="edited times are paired by parameters",
        ),
        pytest.param(
            [
                {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 3}},
                {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 1}},
            ],
            [
                cron("s1", "0 1 * * *", parameters={"x": 1}),
                cron("s2", "0 1 * * *", parameters={"x": 2}),
            ],
            [("s2", Op.UPDATE), ("s1", Op.NONE)],
            id="edited parameters are an update",
        ),
        pytest.param(
            [{"schedule": {"cron": "0 3 * * *"}}],
            [cron("s1", "0 1 * * *", active=False), cron("s2", "0 2 * * *")],
            [("s2", Op.UPDATE), ("s1", Op.DELETE)],
            id="an edited schedule does not inherit that a deleted one was off",
        ),
    ],
)
def test_schedules_are_reconciled_one_by_one(
    desired_list: list[Json], there: list[Json], ops: list[tuple[str | None, Op]]
) -> None:
    found = change({"schedules": desired_list}, live(schedules=there))
    assert [(c.current.id if c.current else None, c.op) for c in found.children] == ops


@pytest.mark.parametrize("order", [1, -1])
def test_declared_fields_are_those_of_the_schedule_with_equal_parameters(order: int) -> None:
    first: Json = {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 1}, "active": False}
    second: Json = {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 2}}
    desired = deployment(KEY, {**CODE, "schedules": [first, second][::order]}, None)
    record = LastApplied().add([desired])
    current = [cron("s1", "0 1 * * *", parameters={"x": 2}, active=False)]
    current.append(cron("s2", "0 1 * * *", parameters={"x": 1}, active=False))
    del first["active"]
    undeclared = deployment(KEY, {**CODE, "schedules": [first, second]}, None)
    found = compare(undeclared, live(schedules=current), record.declared, V3)
    assert [(c.current and c.current.id, c.op) for c in found.children] == [
        ("s2", Op.UPDATE),
        ("s1", Op.NONE),
    ]


def test_lost_schedule_is_not_taken_for_one_with_other_parameters() -> None:
    twin: Json = {"schedule": {"cron": "0 1 * * *"}, "parameters": {"x": 2}}
    want = deployment(KEY, {**CODE, "schedules": [twin]}, [])
    (child,) = compare(want, None, lambda *_: NOTHING, V3).children
    requests = RESOURCE_KINDS["schedule"].write(child, "d-1", V3)
    next(requests)
    requests.throw(LostResponse("sent"))
    (repeated,) = requests.send([[cron("s1", "0 1 * * *", parameters={"x": 1})]])
    assert repeated.method == "POST"


def test_changed_interval_without_anchor_keeps_current_anchor() -> None:
    anchored = {"interval": 3600.0, "anchor_date": "2026-01-01T00:00:00Z", "timezone": "UTC"}
    have = live(schedules=[schedule("s1", schedule=anchored)])
    found = change({"schedules": [{"schedule": {"interval": 60.0}}]}, have)
    (request,) = next(RESOURCE_KINDS["schedule"].write(found.children[0], "d-1", V3))
    assert request.body["schedule"] == {"interval": 60.0, "anchor_date": "2026-01-01T00:00:00Z"}


def test_equal_intervals_are_distinguished_by_anchor() -> None:
    def anchored(day: int) -> dict[str, Json]:
        return {"interval": 3600.0, "anchor_date": f"2026-01-0{day}T00:00:00Z", "timezone": "UTC"}

    there = [schedule("s1", schedule=anchored(1)), schedule("s2", schedule=anchored(2))]
    found = change({"schedules": [{"schedule": anchored(2)}]}, live(schedules=there))
    assert [(c.current and c.current.id, c.op) for c in found.children] == [
        ("s2", Op.NONE),
        ("s1", Op.DELETE),
    ]


@pytest.mark.parametrize("repeated", [{}, {"parameters": {"n": 3}}])
def test_run_limit_dropped_by_post_is_sent_again(repeated: dict[str, Json]) -> None:
    """With the schedule's parameters, which a PATCH without them empties (3.4 to 3.9.1)."""
    limited = {"schedule": {"cron": "0 1 * * *"}, "max_scheduled_runs": 5, **repeated}
    fields = {**CODE, "schedules": [limited]}
    found = compare(deployment(KEY, fields, None), None, lambda *_: NOTHING, V3)
    api_call = RESOURCE_KINDS["deployment"].write(found, "", V3)
    next(api_call)
    api_call.send([{"id": "f-1"}])
    created = cron("s1", "0 1 * * *", **repeated)
    (request,) = api_call.send([{"id": "d-1", "schedules": [created]}])
    assert (request.method, request.path) == ("PATCH", "/deployments/d-1/schedules/s1")
    assert request.body == {"max_scheduled_runs": 5, **repeated}


crons = st.sampled_from(["0 1 * * *", "0 2 * * *", "0 3 * * *", "@daily"])


slugs = st.sampled_from([None, None, "a", "b", "c"])


@st.composite
def schedule_lists(draw: st.DrawFn) -> list[tuple[str, str | None]]:
    found, used = [], set()
    for text, slug in draw(st.lists(st.tuples(crons, slugs), max_size=5)):
        if slug is None or slug not in used:
            used.add(slug)
            found.append((text, slug))
    return found


@given(schedule_lists(), schedule_lists())
def test_any_list_of_schedules_converges_to_any_other(
    before: list[tuple[str, str | None]], after: list[tuple[str, str | None]]
) -> None:
    there = [cron(f"s{n}", text, slug=slug) for n, (text, slug) in enumerate(before)]
    desired_list = [
        {"schedule": {"cron": text}} | ({"slug": slug} if slug else {}) for text, slug in after
    ]
    found = change({"schedules": desired_list}, live(schedules=there))
    result: dict[str, tuple[str, str | None]] = {}
    for child in found.children:
        if child.desired is not None:
            kept: Json = dict(child.current.fields) if child.current else {"slug": None}
            kept |= {part.field: part.new for part in child.fields}
            identity = child.current.id if child.current else f"new{len(result)}"
            assert identity not in result
            result[identity] = (kept["schedule"]["cron"], kept["slug"])
    untouched = {child.current.id for child in found.children if child.current}
    assert untouched == {item["id"] for item in there}
    assert sorted(text for text, _ in result.values()) == sorted(text for text, _ in after)
    assert {slug for _, slug in after if slug} <= {slug for _, slug in result.values()}
