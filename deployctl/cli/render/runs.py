"""Flow runs as they go on: states and logs, one line each; and as JSON."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from rich.text import Text

from deployctl.app.operating.runs import News, moment
from deployctl.cli.render.values import jsonable
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

_STATE = {
    "COMPLETED": "bold green",
    "FAILED": "bold red",
    "CRASHED": "bold red",
    "CANCELLED": "bold yellow",
}
_LEVEL = {30: "yellow", 40: "red", 50: "bold red"}
_RUN = (
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


def news(found: News, *, states: bool = True) -> Iterator[Text]:
    """The logs and, if they are wanted, the states since the last look, in order of time."""
    lines = [(moment(log["timestamp"]), _log(log)) for log in found.logs]
    if states:
        lines += [(moment(each["timestamp"]), _state(each, found.run)) for each in found.states]
    yield from (line for _, line in sorted(lines, key=lambda each: each[0]))


def run_json(run: Json) -> Json:
    """What is said of a run in JSON."""
    shown = {name: run.get(name) for name in _RUN}
    shown["state_message"] = (run.get("state") or {}).get("message")
    return jsonable(shown)


def log_json(log: Json) -> Json:
    """What is said of a log in JSON."""
    names = ("timestamp", "level", "name", "message", "task_run_id")
    return jsonable({name: log.get(name) for name in names})


def _state(state: Json, run: Json) -> Text:
    said = f": {redact(str(state['message']))}" if state.get("message") else ""
    word = (state.get("name") or state["type"], _STATE.get(state["type"], "bold"))
    return Text.assemble(f"{_time(state)} | {run['name']} is ", word, said)


def _log(log: Json) -> Text:
    level = log["level"]
    word = (f"{logging.getLevelName(level):<8}", _LEVEL.get(level // 10 * 10, ""))
    return Text.assemble(f"{_time(log)} | ", word, f"| {log['name']} | {redact(log['message'])}")


def _time(item: Json) -> str:
    """The time of day here, as a person who watches reads it."""
    return f"{moment(item['timestamp']).astimezone():%H:%M:%S}"
