"""Values of a plan are shown without secrets, at any depth below a secret name."""

from __future__ import annotations

import pytest

from deployctl.cli.render.differences import rows
from deployctl.cli.render.schemas import ABSENT
from deployctl.cli.render.values import inline, jsonable, yaml_lines
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from deployctl.deploy.model import Change, FieldChange, Op
from deployctl.templating.values import Unknown

PLAIN: Json = {
    "tokens": {"value": "x", "count": 1},
    "env": {"KEY": "{{ k }}", "DB_PASSWORD": 12345},
}


def test_json_masks_secrets_and_marks_unknown_values() -> None:
    assert jsonable({**PLAIN, "image": Unknown("build", "tag")}, "parameters") == {
        "tokens": {"value": MASK, "count": MASK},
        "env": {"KEY": "{{ k }}", "DB_PASSWORD": MASK},
        "image": {"unknown": "build.tag"},
    }
    assert jsonable({"value": "x"}, "tokens") == {"value": MASK}


@pytest.mark.parametrize(
    ("field", "old", "new", "shown"),
    [
        ("parameters", {"tokens": {"value": "x"}}, {"tokens": {"value": "y"}}, (MASK, MASK)),
        ("parameters", {"password": 1}, {"password": 987654321}, (MASK, MASK)),
        ("parameters", {"size": 1}, {"size": 2}, (1, 2)),
        ("job_variables", {}, {"credentials": {"user": "u"}}, (ABSENT, {"user": MASK})),
    ],
)
def test_rows_mask_values_below_secret_names(
    field: str, old: Json, new: Json, shown: tuple[Json, Json]
) -> None:
    change = Change("deployment", ("f", "d"), Op.UPDATE, fields=(FieldChange(field, old, new),))
    assert [(row.old, row.new) for row in rows(change)] == [shown]


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        ("a: 1", ["a: 1"]),
        (["x", 1], ["[x, 1]"]),
        ({"env": {}}, ["env: {}"]),
        ({"yes": "no", "n": "1"}, ["'yes': 'no'", "n: '1'"]),
        ({"script": "a\nb\n"}, ["script: |", "  a", "  b"]),
        ({"tag": Unknown("build", "tag")}, ["tag: (known after build)"]),
        ({"a": [{"b": 1, "c": [2]}]}, ["a:", "- b: 1", "  c: [2]"]),
        ({"t": "fold words " * 3}, ["t: 'fold words fold words", "  fold words '"]),
    ],
)
def test_values_become_yaml_that_fits_the_width(value: Json, lines: list[str]) -> None:
    assert yaml_lines(value, 32) == lines


def test_only_a_value_of_one_line_is_inline() -> None:
    assert inline({"a": 1}) == "a: 1"
    assert inline({"a": 1, "b": 2}) is None
