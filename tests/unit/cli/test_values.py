"""Values of a plan are shown without secrets, at any depth below a secret name."""

from __future__ import annotations

import pytest

from deployctl.cli.render.values import jsonable, lines
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
        ("parameters", {"size": 1}, {"size": 2}, ("1", "2")),
        ("job_variables", {}, {"credentials": {"user": "u"}}, (None, f'{{"user": "{MASK}"}}')),
    ],
)
def test_lines_mask_values_below_secret_names(
    field: str, old: Json, new: Json, shown: tuple[str | None, str | None]
) -> None:
    change = Change("deployment", ("f", "d"), Op.UPDATE, fields=(FieldChange(field, old, new),))
    assert [line[1:] for line in lines(change)] == [shown]
