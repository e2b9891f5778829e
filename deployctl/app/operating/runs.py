"""Creates flow runs on request, and follows a run to its end.

A new run is checked against the schemas of its flow and work pool before anything is sent. The
caller gives the idempotency key, so a repeated request creates no second run. Following is a finite
step (`poll_run`), which reads what is new, and a loop around it (`follow_run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.driver import run
from deployctl.api.paging import PAGE, pages
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.api.states import FINAL, SCHEDULED
from deployctl.app.operating.lookup import find_deployment, find_pool
from deployctl.app.operating.timeline import Timeline
from deployctl.core.diagnostics import Report
from deployctl.core.errors import Interrupted, NotFound
from deployctl.core.json_values import Json
from deployctl.flows.parameters import check_parameters
from deployctl.jobs.variables import PoolVariables
from deployctl.templating.problems import Problem, report_problems

_POLL_INTERVAL = 1.0
"""Seconds."""
_QUIET_POLLS = 3
"""Polls without new logs after which a final run is over. Programs send logs every two seconds."""
_OVERLAP = timedelta(seconds=10)
"""How far before the newest log a poll starts: logs come from several programs, whose clocks and
buffers differ."""


class RunDeleted(NotFound):
    """The run was deleted while it was followed."""

    code = "DC664"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create."""

    parameters: Mapping[str, Json] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """Parameter → its value as it was written, for those that were read as JSON if possible."""
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    name: str | None = None
    tags: tuple[str, ...] = ()
    start: datetime | None = None
    """None: now."""


def check_run(
    name: str, requested: NewRun, session: Session, report: Report
) -> tuple[Json, NewRun]:
    """The deployment called `name`, and the run with parameters of the types of its flow.

    The report gets what would make the run fail. Raises ObjectNotFound, AmbiguousName and ApiError.
    """
    deployment, pool = run(_read_deployment(name, requested), session)
    new_run = with_typed_parameters(requested, deployment.get("parameter_openapi_schema") or {})
    report_problems(find_problems(deployment, pool, new_run), report, lambda _path: None)
    return deployment, new_run


def with_typed_parameters(requested: NewRun, schema: Mapping[str, Json]) -> NewRun:
    """The run with parameters as text where the schema takes only that: `3` for a string."""

    def is_valid(name: str, value: Json) -> bool:
        """Whether the schema accepts the value of a parameter."""
        return all(each.code != "DC420" for each in check_parameters({name: value}, schema, True))

    values = requested.parameters
    as_text = {
        name: text
        for name, text in requested.texts.items()
        if not is_valid(name, values[name]) and is_valid(name, text)
    }
    return replace(requested, parameters={**values, **as_text})


def create_run(deployment: Json, new_run: NewRun, key: str) -> ApiCall[Json]:
    """Creates a run of a deployment and returns it.

    `key`: the idempotency key. For a key that it knows, the server returns the existing run.
    """
    path = f"{paths.deployment(deployment['id'])}/create_flow_run"
    subject = f"a run of {deployment['full_name']}"
    body = request_body(new_run, key)
    created = yield from call(Request("POST", path, body, subject=subject))
    return created


def find_problems(deployment: Json, pool: Json, new_run: NewRun) -> list[Problem]:
    """What would make the run fail, according to the schemas of its flow and work pool.

    `pool`: None skips the check of job variables.
    """
    schema = deployment.get("parameter_openapi_schema") or {}
    parameters = {**(deployment.get("parameters") or {}), **new_run.parameters}
    enforced = deployment.get("enforce_parameter_schema") is not False
    problems = check_parameters(parameters, schema, enforced)
    for name in schema.get("required") or ():
        if name not in parameters:
            message = f"the flow requires the parameter '{name}'"
            problems.append(Problem((name,), "DC662", message, f"Give it with `--param {name}=…`."))
    if pool is not None:
        current = deployment.get("job_variables") or deployment.get("infra_overrides") or {}
        variables = {**current, **new_run.job_variables}
        problems += PoolVariables(pool.get("base_job_template")).check(variables)
    return problems


def request_body(new_run: NewRun, key: str) -> Json:
    """The body of the request that creates a run; the server adds the deployment's fields."""
    body: dict[str, Json] = {"parameters": dict(new_run.parameters), "idempotency_key": key}
    if new_run.job_variables:
        body["job_variables"] = dict(new_run.job_variables)
    if new_run.name:
        body["name"] = new_run.name
    if new_run.tags:
        body["tags"] = list(new_run.tags)
    if new_run.start:
        details = {"scheduled_time": new_run.start.isoformat()}
        body["state"] = {"type": SCHEDULED, "state_details": details}
    return body


def _read_deployment(name: str, new_run: NewRun) -> ApiCall[tuple[Json, Json]]:
    """The deployment, and its work pool if the run sets job variables."""
    deployment = yield from find_deployment(name)
    pool = None
    if new_run.job_variables and deployment.get("work_pool_name"):
        pool = yield from find_pool(deployment["work_pool_name"])
    return deployment, pool


@dataclass(slots=True)
class RunCursor:
    """A run that is polled, and how far its states and logs were read."""

    run_id: str
    level: int = 0
    """Least level of logs to read, as in Python's logging."""
    tail: int | None = None
    """Maximum number of logs of the first poll; None: all."""
    seen: set[str] = field(default_factory=set)
    """Ids of logs and states."""
    oldest: datetime | None = None
    """Time of the oldest log that was read."""
    newest: datetime | None = None
    """Time of the newest log that was read."""


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What one poll found."""

    run: Json
    logs: tuple[Json, ...]
    """New logs, oldest first."""
    states: tuple[Json, ...]
    """New states, oldest first."""

    @property
    def is_final(self) -> bool:
        """Whether the run is in a final state."""
        return self.run.get("state_type") in FINAL

    @property
    def has_news(self) -> bool:
        """Whether there are new logs or states."""
        return bool(self.logs or self.states)


def poll_run(cursor: RunCursor) -> ApiCall[RunUpdate]:
    """Reads what is new and advances the cursor. Raises RunDeleted."""
    calls: dict[str, ApiCall[Json]] = {
        "run": call(Request("GET", paths.flow_run(cursor.run_id), missing_ok=True)),
        "states": call(Request("GET", paths.flow_run_states(cursor.run_id))),
        "logs": _read_logs(cursor),
    }
    found = yield from gather(calls)
    flow_run = found["run"]
    if flow_run is None:
        raise RunDeleted("the run was deleted", help="Its logs were deleted with it.")
    logs, states = (_unseen(found[kind], cursor.seen) for kind in ("logs", "states"))
    times = [parse_time(log["timestamp"]) for log in logs]
    if times:
        cursor.oldest = cursor.oldest or min(times)
        cursor.newest = max(times) if cursor.newest is None else max(*times, cursor.newest)
    cursor.tail = None
    return RunUpdate(flow_run, logs, states)


def follow_run(cursor: RunCursor, session: Session, on_update: Callable[[RunUpdate], None]) -> Json:
    """Polls until the run is final and no more logs arrive; returns the run as it is then.

    States and logs are reported in the order of time (`Timeline`). The final state is reported
    last, because logs reach the server after it.

    Raises RunDeleted, ApiError, and Interrupted on cancellation, which leaves the run alone.
    """
    quiet = 0
    timeline = Timeline(_QUIET_POLLS)
    update: RunUpdate | None = None

    def show(*, everything: bool) -> None:
        """Reports what the timeline releases."""
        if update is not None:
            logs, states = timeline.release(everything=everything, is_final=update.is_final)
            on_update(RunUpdate(update.run, logs, states))

    try:
        while True:
            update = run(poll_run(cursor), session)
            quiet = quiet + 1 if update.is_final and not update.has_news else 0
            timeline.add(update.logs, update.states)
            show(everything=quiet >= _QUIET_POLLS)
            if quiet >= _QUIET_POLLS:
                return update.run
            session.cancellation.wait(_POLL_INTERVAL)
    except Interrupted as stopped:
        show(everything=True)
        number = stopped.exit_code - 128
        raise Interrupted("stopped watching; the run continues", signal=number) from None


def parse_time(text: str) -> datetime:
    """A time as the server writes it."""
    return datetime.fromisoformat(text)


def run_url(run: Json, settings: Settings, major: int) -> str | None:
    """The page of the run in the UI; None if the API's URL doesn't reveal the UI's."""
    api = settings.display_url
    if settings.is_cloud or not api.endswith("/api"):
        return None
    folder = "runs" if major >= 3 else "flow-runs"
    return f"{api.removesuffix('/api')}/{folder}/flow-run/{run['id']}"


def _unseen(items: list[Json], seen: set[str]) -> tuple[Json, ...]:
    """The items whose ids are not in `seen`, oldest first; their ids are added to it."""
    new = [item for item in items if item["id"] not in seen]
    seen.update(item["id"] for item in new)
    return tuple(sorted(new, key=lambda item: parse_time(item["timestamp"])))


def _read_logs(cursor: RunCursor) -> ApiCall[list[Json]]:
    filters: dict[str, Json] = {"flow_run_id": {"any_": [cursor.run_id]}}
    if cursor.level:
        filters["level"] = {"ge_": cursor.level}
    if cursor.tail is not None:
        return _read_last_logs({"logs": filters}, cursor.tail)
    if cursor.newest is not None and cursor.oldest is not None:
        since = max(cursor.newest - _OVERLAP, cursor.oldest)
        filters["timestamp"] = {"after_": since.isoformat()}
    return pages(paths.LOGS, {"logs": filters, "sort": "TIMESTAMP_ASC"}, 1)


def _read_last_logs(filters: Json, count: int) -> ApiCall[list[Json]]:
    """The last `count` logs, oldest first."""
    body = {**filters, "sort": "TIMESTAMP_DESC"}
    answers = yield [
        Request(
            "POST",
            paths.listing(paths.LOGS),
            {**body, "limit": min(PAGE, count - at), "offset": at},
        )
        for at in range(0, count, PAGE)
    ]
    return [log for answer in answers for log in answer][::-1]
