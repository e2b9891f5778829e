"""States and logs of a followed run are released in the order of time."""

from __future__ import annotations

from deployctl.app.operating.timeline import Timeline
from deployctl.core.json_values import Json


def at(second: float) -> Json:
    return {"id": f"{second:g}", "timestamp": f"2030-01-01T00:00:{second:06.3f}Z"}


def poll(
    timeline: Timeline,
    *,
    logs: tuple[float, ...] = (),
    states: tuple[float, ...] = (),
    **options: bool,
) -> str:
    """What one poll releases, in order, each log with `l` in front."""
    timeline.add(tuple(map(at, logs)), tuple(map(at, states)))
    flags = {"everything": False, "is_final": False, **options}
    found_logs, found_states = timeline.release(**flags)
    entries = [(item["timestamp"], f"l{item['id']}") for item in found_logs]
    entries += [(item["timestamp"], item["id"]) for item in found_states]
    return " ".join(text for _, text in sorted(entries))


def test_a_late_log_comes_before_a_newer_state() -> None:
    timeline = Timeline(3)
    assert poll(timeline, states=(1, 2)) == ""
    assert poll(timeline, logs=(1.5,)) == ""
    assert poll(timeline) == ""
    assert poll(timeline) == "1 l1.5 2"


def test_entries_much_older_than_the_newest_are_released_at_once() -> None:
    assert poll(Timeline(3), states=(1, 2, 9), logs=(3, 8)) == "1 2 l3"


def test_what_precedes_a_released_entry_is_released_with_it() -> None:
    timeline = Timeline(1)
    poll(timeline, states=(5,))
    assert poll(timeline, logs=(4, 6)) == "l4 5"


def test_final_state_and_what_follows_it_wait_for_the_end() -> None:
    timeline = Timeline(1)
    assert poll(timeline, states=(1, 5), is_final=True) == "1"
    assert poll(timeline, logs=(4, 6), is_final=True) == "l4"
    assert poll(timeline, logs=(4.5,), is_final=True) == "l4.5"
    assert poll(timeline, everything=True, is_final=True) == "5 l6"
