"""Flow runs on request: checked before anything is sent, created once, followed to their end.

The key that makes the creation safe to repeat is the caller's, so a lost answer leads to the run
that exists already. Following is a finite step (`look`), which reads what is new, and an endless
shell around it (`follow`).
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
from deployctl.core.diagnostics import Report
from deployctl.core.errors import Interrupted, NotFound
from deployctl.core.json_values import Json
from deployctl.flows.parameters import check_parameters
from deployctl.jobs.variables import PoolVariables
from deployctl.templating.problems import Problem, report_problems

_EVERY = 1.0
"""Seconds between two looks."""
_QUIET = 3
"""Looks without news after the end: programs send their logs every two seconds."""
_OVERLAP = timedelta(seconds=10)
"""Logs come from several programs, whose clocks and buffers differ: so far back is looked again."""


class Gone(NotFound):
    """The run was deleted while somebody looked at it."""

    code = "DC664"


@dataclass(frozen=True, slots=True)
class NewRun:
    """What the command line says of a run."""

    parameters: Mapping[str, Json] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    """Of parameters that were read as JSON if they could be: how they were written."""
    job_variables: Mapping[str, Json] = field(default_factory=dict)
    name: str | None = None
    tags: tuple[str, ...] = ()
    start: datetime | None = None
    """When it is to begin; None: now."""


def check_run(name: str, wanted: NewRun, session: Session, report: Report) -> tuple[Json, NewRun]:
    """The deployment called `name`, and the run as its flow's types have it; the report says what
    would make it fail.

    Raises NotThere, Ambiguous and ApiError.
    """
    deployment, pool = run(_subject(name, wanted), session)
    wanted = typed(wanted, deployment.get("parameter_openapi_schema") or {})
    report_problems(problems(deployment, pool, wanted), report, lambda _path: None)
    return deployment, wanted


def typed(wanted: NewRun, schema: Mapping[str, Json]) -> NewRun:
    """The run with parameters as they were written where only that fits: `3` may be a text."""

    def fits(name: str, value: Json) -> bool:
        return all(each.code != "DC420" for each in check_parameters({name: value}, schema, True))

    given = wanted.parameters
    meant = {
        name: text
        for name, text in wanted.texts.items()
        if not fits(name, given[name]) and fits(name, text)
    }
    return replace(wanted, parameters={**given, **meant})


def create_run(deployment: Json, wanted: NewRun, key: str) -> ApiCall[Json]:
    """Creates a run of a deployment and gives it.

    `key`: new for each run that is wanted; with the same key the same run is given again.
    """
    path = f"{paths.deployment(deployment['id'])}/create_flow_run"
    about = f"a run of {deployment['full_name']}"
    created = yield from call(Request("POST", path, body(wanted, key), subject=about))
    return created


def problems(deployment: Json, pool: Json, wanted: NewRun) -> list[Problem]:
    """What would make the run fail, as far as the schemas of flow and pool say.

    `pool`: None where it need not be looked at.
    """
    schema = deployment.get("parameter_openapi_schema") or {}
    given = {**(deployment.get("parameters") or {}), **wanted.parameters}
    enforced = deployment.get("enforce_parameter_schema") is not False
    found = check_parameters(given, schema, enforced)
    for name in schema.get("required") or ():
        if name not in given:
            message, help_ = f"the flow needs the parameter '{name}'", f"give it: --param {name}=…"
            found.append(Problem((name,), "DC662", message, help_))
    if pool is not None:
        there = deployment.get("job_variables") or deployment.get("infra_overrides") or {}
        variables = {**there, **wanted.job_variables}
        found += PoolVariables(pool.get("base_job_template")).check(variables)
    return found


def body(wanted: NewRun, key: str) -> Json:
    """What the server is sent; it adds what the deployment says."""
    sent: dict[str, Json] = {"parameters": dict(wanted.parameters), "idempotency_key": key}
    if wanted.job_variables:
        sent["job_variables"] = dict(wanted.job_variables)
    if wanted.name:
        sent["name"] = wanted.name
    if wanted.tags:
        sent["tags"] = list(wanted.tags)
    if wanted.start:
        details = {"scheduled_time": wanted.start.isoformat()}
        sent["state"] = {"type": SCHEDULED, "state_details": details}
    return sent


def _subject(name: str, wanted: NewRun) -> ApiCall[tuple[Json, Json]]:
    deployment = yield from find_deployment(name)
    pool = None
    if wanted.job_variables and deployment.get("work_pool_name"):
        pool = yield from find_pool(deployment["work_pool_name"])
    return deployment, pool


@dataclass(slots=True)
class Watched:
    """A run that is being looked at, and what was seen of it."""

    run: str
    """Its id."""
    level: int = 0
    """The least that is looked for, as Python's logging counts."""
    tail: int | None = None
    """How many logs the first look gives, at most; None: all."""
    seen: set[str] = field(default_factory=set)
    """The ids of logs and states."""
    oldest: datetime | None = None
    newest: datetime | None = None
    """Of the logs that were seen."""


@dataclass(frozen=True, slots=True)
class News:
    """What one look found."""

    run: Json
    logs: tuple[Json, ...]
    """Those that no look before had, oldest first."""
    states: tuple[Json, ...]
    """Likewise."""

    @property
    def ended(self) -> bool:
        """Whether no further state will come."""
        return self.run.get("state_type") in FINAL

    @property
    def any(self) -> bool:
        """Whether there is something to tell."""
        return bool(self.logs or self.states)


def look(watched: Watched) -> ApiCall[News]:
    """Reads what is new, and takes note of it in `watched`. Raises Gone."""
    talks: dict[str, ApiCall[Json]] = {
        "run": call(Request("GET", paths.flow_run(watched.run), missing_ok=True)),
        "states": call(Request("GET", paths.flow_run_states(watched.run))),
        "logs": _logs(watched),
    }
    found = yield from gather(talks)
    run_ = found["run"]
    if run_ is None:
        raise Gone("the run was deleted", help="Whoever did it knows why; its logs went with it.")
    logs, states = (_unseen(found[kind], watched.seen) for kind in ("logs", "states"))
    times = [moment(log["timestamp"]) for log in logs]
    if times:
        watched.oldest = watched.oldest or min(times)
        watched.newest = max(times) if watched.newest is None else max(*times, watched.newest)
    watched.tail = None
    return News(run_, logs, states)


def follow(watched: Watched, session: Session, listen: Callable[[News], None]) -> Json:
    """Looks until the run has ended and its logs are quiet; gives the run as it is then.

    Logs reach the server after the state that ends the run: that is told last.

    Raises Gone, ApiError, and Interrupted when a stop was asked for: of the watching, not the run.
    """
    quiet = 0
    states: tuple[Json, ...] = ()
    try:
        while True:
            news = run(look(watched), session)
            quiet = quiet + 1 if news.ended and not news.any else 0
            is_over = quiet >= _QUIET
            states += news.states
            last = states[-1:] if news.ended and not is_over else ()
            listen(News(news.run, news.logs, states[: len(states) - len(last)]))
            states = last
            if is_over:
                return news.run
            session.cancellation.wait(_EVERY)
    except Interrupted as stopped:
        number = stopped.exit_code - 128
        raise Interrupted("stopped watching; the run goes on", signal=number) from None


def moment(text: str) -> datetime:
    """A time as the server writes it."""
    return datetime.fromisoformat(text)


def run_url(run: Json, settings: Settings, major: int) -> str | None:
    """Where a browser shows the run; None where the API's address does not tell."""
    api = settings.display_url
    if settings.is_cloud or not api.endswith("/api"):
        return None
    place = "runs" if major >= 3 else "flow-runs"
    return f"{api.removesuffix('/api')}/{place}/flow-run/{run['id']}"


def _unseen(items: list[Json], seen: set[str]) -> tuple[Json, ...]:
    """Those that were not seen before, oldest first; they are seen now."""
    fresh = [item for item in items if item["id"] not in seen]
    seen.update(item["id"] for item in fresh)
    return tuple(sorted(fresh, key=lambda item: moment(item["timestamp"])))


def _logs(watched: Watched) -> ApiCall[list[Json]]:
    filters: dict[str, Json] = {"flow_run_id": {"any_": [watched.run]}}
    if watched.level:
        filters["level"] = {"ge_": watched.level}
    if watched.tail is not None:
        return _last({"logs": filters}, watched.tail)
    if watched.newest is not None and watched.oldest is not None:
        since = max(watched.newest - _OVERLAP, watched.oldest)
        filters["timestamp"] = {"after_": since.isoformat()}
    return pages(paths.LOGS, {"logs": filters, "sort": "TIMESTAMP_ASC"}, 1)


def _last(filters: Json, count: int) -> ApiCall[list[Json]]:
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
