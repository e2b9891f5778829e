"""Text tables, relative times, and the order of logs and states."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployctl.app.operating.runs import RunUpdate
from deployctl.cli.render.runs import run_json, run_update
from deployctl.cli.render.table import relative_time, table

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (None, ""),
        ("2030-01-01T12:00:00Z", "0 s ago"),
        ("2030-01-01T11:59:01+00:00", "59 s ago"),
        ("2030-01-01T11:00:30Z", "59 min ago"),
        ("2030-01-01T15:00:00.5Z", "in 3 h"),
        ("2029-12-30T00:00:00Z", "2 d ago"),
    ],
)
def test_relative_time_uses_largest_unit(text: str | None, shown: str) -> None:
    assert relative_time(text, NOW) == shown


def test_columns_fit_widest_cell_and_cells_are_one_line() -> None:
    lines = [line.plain for line in table(("a", "b", "c"), [("1", "", "z"), ("世界", "x\ny", "")])]
    assert lines == ["a     b    c", "1     -    z", "世界  x y  -"]


def test_sorts_logs_and_states_by_time() -> None:
    def at(second: int, **more: object) -> dict[str, object]:
        return {"timestamp": f"2030-01-01T00:00:0{second}Z", **more}

    update = RunUpdate(
        {"name": "r"},
        (at(1, level=20, name="n", message="one"), at(3, level=40, name="n", message="two")),
        (at(2, type="FAILED", name="Failed", message="why"),),
    )
    shown = [line.plain.partition(" | ")[2] for line in run_update(update)]
    assert shown == ["INFO    | n | one", "r is Failed: why", "ERROR   | n | two"]
    assert len(list(run_update(update, states=False))) == 2


def test_states_are_shown_without_the_marks_of_workers() -> None:
    message = "claimed [deployctl a/b/c 01234567-89ab-cdef-0123-456789abcdef as=red-fox]"
    state = {"timestamp": "2030-01-01T00:00:00Z", "type": "PENDING", "message": message}
    (line,) = run_update(RunUpdate({"name": "r"}, (), (state,)))
    assert line.plain.endswith("r is PENDING: claimed")
    assert run_json({"state": state})["state_message"] == "claimed"
