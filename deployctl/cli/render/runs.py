"""States and logs of flow runs: one line each, and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from rich.text import Text

from deployctl.app.operating.runs import RunUpdate, parse_time
from deployctl.cli.render.values import jsonable
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.worker.server.claim_marker import without_marker

_STATE_STYLES = {
    "COMPLETED": "bold green",
    "FAILED": "bold red",
    "CRASHED": "bold red",
    "CANCELLED": "bold yellow",
}
_LEVEL_STYLES = {30: "yellow", 40: "red", 50: "bold red"}
RUN_FIELDS = (
    "id",
    "name",
    "state_type",
    "state_name",
    "deployment_id",
    "flow_id",
    "parameters",
    "tags",
    "work_pool_name",
    "work_queue_name",
    "expected_start_time",
    "start_time",
    "end_time",
    "run_count",
)
"""Fields of a run in JSON; `state_message` is added."""
LOG_FIELDS = ("timestamp", "level", "name", "message", "task_run_id")


def run_update(update: RunUpdate, *, states: bool = True) -> Iterator[Text]:
    """The new logs and, with `states`, the new states, in order of time."""
    lines = [(parse_time(log["timestamp"]), _log(log)) for log in update.logs]
    if states:
        lines += [
            (parse_time(state["timestamp"]), _state(state, update.run)) for state in update.states
        ]
    yield from (line for _, line in sorted(lines, key=lambda each: each[0]))


def run_json(run: Json) -> Json:
    """A run for the JSON output."""
    fields = {name: run.get(name) for name in RUN_FIELDS}
    message = without_marker((run.get("state") or {}).get("message"))
    fields["state_message"] = message or None
    return jsonable(fields)


def log_json(log: Json) -> Json:
    """A log for the JSON output."""
    return jsonable({name: log.get(name) for name in LOG_FIELDS})


def _state(state: Json, run: Json) -> Text:
    text = without_marker(state.get("message"))
    message = f": {redact(text)}" if text else ""
    name = (state.get("name") or state["type"], _STATE_STYLES.get(state["type"], "bold"))
    return Text.assemble(f"{_time(state)} | {run['name']} is ", name, message)


def _log(log: Json) -> Text:
    level = log["level"]
    name = (f"{logging.getLevelName(level):<8}", _LEVEL_STYLES.get(level // 10 * 10, ""))
    return Text.assemble(f"{_time(log)} | ", name, f"| {log['name']} | {redact(log['message'])}")


def _time(item: Json) -> str:
    """The time of day in the local time zone."""
    return f"{parse_time(item['timestamp']).astimezone():%H:%M:%S}"
