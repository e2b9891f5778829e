"""What a name on the command line means on the server: a deployment, a flow run, a work pool.

People write what they see: `FLOW/DEPLOYMENT`, a name alone where it is the only one, or an id. What
is not there is told together with the name that comes closest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import PAGE, pages
from deployctl.api.states import SCHEDULED, STARTED
from deployctl.api.work_pools import read_pool, read_pool_names
from deployctl.core.errors import NotFound, UsageError
from deployctl.core.json_values import Json
from deployctl.core.suggest import did_you_mean


class ObjectNotFound(NotFound):
    """What the command names is not on the server."""

    code = "DC660"


class Ambiguous(UsageError):
    """What the command names is there more than once."""

    code = "DC661"


class NotRunYet(NotFound):
    """The deployment is there, and none of its runs has begun."""

    code = "DC663"


def find_deployment(name: str) -> ApiCall[Json]:
    """The deployment of that `FLOW/NAME`, name or id, with the key `full_name` added.

    Raises NotThere, and Ambiguous where several flows have a deployment of that name.
    """
    if is_id(name):
        path = paths.deployment(name)
        found = [(yield from call(Request("GET", path, missing_ok=True)))]
    elif "/" in name:
        flow, _, own = name.partition("/")
        path = paths.deployment_by_name(flow, own)
        found = [(yield from call(Request("GET", path, missing_ok=True)))]
    else:
        found = yield from pages(paths.DEPLOYMENTS, {"deployments": _named(name)}, 1)
    named = yield from with_full_names([each for each in found if each])
    if not named:
        every = yield from pages(paths.DEPLOYMENTS, {"sort": "CREATED_DESC"}, 1)
        there = [each["full_name"] for each in (yield from with_full_names(every))]
        raise ObjectNotFound(f"there is no deployment '{name}'", help=closest(name, there))
    if len(named) > 1:
        listed = ", ".join(sorted(each["full_name"] for each in named))
        raise Ambiguous(f"several deployments are called '{name}'", help=f"There are: {listed}.")
    return named[0]


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """The flow run that a name means, and what else it could have meant."""

    run: Json
    is_newest: bool = False
    """There are older runs of that name."""
    is_latest: bool = False
    """The name is that of a deployment, and this one of its runs began last."""
    waiting: Json = None
    """The run of that deployment that is due since, and has not begun."""


def find_run(name: str, now: datetime) -> ApiCall[ResolvedRun]:
    """The flow run of that id or name, or the one of a deployment that began last; where none has
    begun, the one that is due.

    Raises NotThere, NotRunYet, and Ambiguous as `find_deployment` does.
    """
    if is_id(name):
        run = yield from call(Request("GET", paths.flow_run(name), missing_ok=True))
        if run is not None:
            return ResolvedRun(run)
    runs = yield from newest({"flow_runs": _named(name)}, 2)
    if runs:
        return ResolvedRun(runs[0], is_newest=len(runs) > 1)
    if "/" not in name:
        raise ObjectNotFound(
            f"there is no flow run '{name}'",
            help="Give its id, its name, or FLOW/DEPLOYMENT for the latest run of a deployment.",
        )
    deployment = yield from find_deployment(name)
    runs = yield from newest(runs_of(deployment["id"], STARTED), 1)
    span = {"after_": runs[0]["expected_start_time"]} if runs else {}
    waiting = yield from _waiting(deployment["id"], {**span, "before_": now.isoformat()})
    if runs:
        return ResolvedRun(runs[0], is_latest=True, waiting=waiting)
    if waiting is None:
        raise NotRunYet(
            f"the deployment '{name}' has not run yet", help=f"Start it: deployctl run {name}"
        )
    return ResolvedRun(waiting)


def runs_of(deployment: str, types: Sequence[str]) -> Json:
    """A filter for the runs of a deployment (by its id) whose state has one of the types."""
    filters = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": list(types)}}}
    return {"flow_runs": filters}


def newest(body: Json, count: int) -> ApiCall[list[Json]]:
    """The `count` runs of a filter that began last, or that are to begin last."""
    body = {**body, "sort": "START_TIME_DESC", "limit": count}
    runs: list[Json] = yield from call(Request("POST", paths.listing(paths.FLOW_RUNS), body))
    return runs


def _waiting(deployment: str, span: Mapping[str, str]) -> ApiCall[Json]:
    """The last run of a deployment that should have begun in a span of time, and has not."""
    body = runs_of(deployment, [SCHEDULED])
    body["flow_runs"]["expected_start_time"] = span
    body |= {"sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    runs = yield from call(Request("POST", paths.listing(paths.FLOW_RUNS), body))
    return runs[0] if runs else None


def find_pool(name: str) -> ApiCall[Json]:
    """The work pool. Raises NotThere."""
    pool = yield from read_pool(name)
    if pool is None:
        raise no_pool(name, (yield from read_pool_names()))
    return pool


def no_pool(name: str, there: Iterable[str]) -> ObjectNotFound:
    """The error for a pool that is not among those that are there."""
    return ObjectNotFound(f"there is no work pool '{name}'", help=closest(name, there))


def with_full_names(deployments: Sequence[Json]) -> ApiCall[list[Json]]:
    """The deployments with `FLOW/NAME` as `full_name`, sorted by it."""
    ids = sorted({each["flow_id"] for each in deployments})
    names: dict[str, str] = {}
    for start in range(0, len(ids), PAGE):
        body = {"flows": {"id": {"any_": ids[start : start + PAGE]}}}
        names |= {flow["id"]: flow["name"] for flow in (yield from pages(paths.FLOWS, body, 1))}
    named = [
        {**each, "full_name": f"{names.get(each['flow_id'], '?')}/{each['name']}"}
        for each in deployments
    ]
    return sorted(named, key=lambda each: str(each["full_name"]))


def closest(name: str, there: Iterable[str]) -> str:
    """The way out of a wrong name: the one that is most like it, else what there is."""
    listed = sorted(there)
    own = {each.partition("/")[2]: each for each in listed if "/" not in name}
    if guess := did_you_mean(name, [*listed, *own]):
        return guess
    shown = ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
    return f"There are: {shown}." if listed else "There is none yet."


def is_id(text: str) -> bool:
    """Whether a text is the id of an object on the server."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _named(name: str) -> Json:
    return {"name": {"any_": [name]}}
