"""Finds the deployment, flow run or work pool that a name on the command line means.

A name is `FLOW/DEPLOYMENT`, a unique name, or an id. The error for an unknown name suggests the
most similar one.
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

_MAX_LISTED = 10
"""Names that an error lists where none is similar."""


class ObjectNotFound(NotFound):
    """No object on the server has the name that the command was given."""

    code = "DC660"


class AmbiguousName(UsageError):
    """Several objects on the server have the name that the command was given."""

    code = "DC661"


class NoRunStarted(NotFound):
    """The deployment exists, and none of its runs has started."""

    code = "DC663"


def find_deployment(name: str) -> ApiCall[Json]:
    """The deployment with this `FLOW/NAME`, name or id, with the key `full_name` added.

    Raises ObjectNotFound, and AmbiguousName if several flows have a deployment of that name.
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
    matches = yield from with_full_names([each for each in found if each])
    if not matches:
        existing = yield from pages(paths.DEPLOYMENTS, {"sort": "CREATED_DESC"}, 1)
        names = [each["full_name"] for each in (yield from with_full_names(existing))]
        raise ObjectNotFound(f"there is no deployment '{name}'", help=suggest_name(name, names))
    if len(matches) > 1:
        listed = ", ".join(sorted(each["full_name"] for each in matches))
        raise AmbiguousName(
            f"several deployments are called '{name}'", help=f"Give the full name: {listed}."
        )
    return matches[0]


@dataclass(frozen=True, slots=True)
class ResolvedRun:
    """The flow run that a name means, and other runs that it could mean."""

    run: Json
    is_newest: bool = False
    """There are older runs of that name."""
    is_latest: bool = False
    """The name is a deployment's, and this is its run that started last."""
    waiting: Json = None
    """A later run of that deployment that is due and has not started."""


def find_run(name: str, now: datetime) -> ApiCall[ResolvedRun]:
    """The flow run with this id or name, or the run of a deployment that started last.

    If no run of the deployment has started, it is the one that is due. Raises ObjectNotFound,
    NoRunStarted, and AmbiguousName as `find_deployment` does.
    """
    if is_id(name):
        run = yield from call(Request("GET", paths.flow_run(name), missing_ok=True))
        if run is not None:
            return ResolvedRun(run)
    runs = yield from newest_runs({"flow_runs": _named(name)}, 2)
    if runs:
        return ResolvedRun(runs[0], is_newest=len(runs) > 1)
    if "/" not in name:
        raise ObjectNotFound(
            f"there is no flow run '{name}'",
            help="Give its id, its name, or FLOW/DEPLOYMENT for the latest run of a deployment.",
        )
    deployment = yield from find_deployment(name)
    runs = yield from newest_runs(runs_filter(deployment["id"], STARTED), 1)
    after = {"after_": runs[0]["expected_start_time"]} if runs else {}
    waiting = yield from _last_waiting_run(deployment["id"], {**after, "before_": now.isoformat()})
    if runs:
        return ResolvedRun(runs[0], is_latest=True, waiting=waiting)
    if waiting is None:
        raise NoRunStarted(
            f"the deployment '{name}' has not run yet",
            help=f"Start it with `deployctl run {name}`.",
        )
    return ResolvedRun(waiting)


def runs_filter(deployment_id: str, state_types: Sequence[str]) -> Json:
    """The filter for the runs of a deployment whose state has one of these types."""
    return {
        "flow_runs": {
            "deployment_id": {"any_": [deployment_id]},
            "state": {"type": {"any_": list(state_types)}},
        }
    }


def newest_runs(body: Json, count: int) -> ApiCall[list[Json]]:
    """At most `count` runs of a filter, by start time, newest first."""
    body = {**body, "sort": "START_TIME_DESC", "limit": count}
    runs: list[Json] = yield from call(Request("POST", paths.listing(paths.FLOW_RUNS), body))
    return runs


def _last_waiting_run(deployment_id: str, start_time: Mapping[str, str]) -> ApiCall[Json]:
    """The last scheduled run of a deployment whose expected start time is in a range, or None."""
    body = runs_filter(deployment_id, [SCHEDULED])
    body["flow_runs"]["expected_start_time"] = start_time
    body |= {"sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    runs = yield from call(Request("POST", paths.listing(paths.FLOW_RUNS), body))
    return runs[0] if runs else None


def find_pool(name: str) -> ApiCall[Json]:
    """The work pool with this name. Raises ObjectNotFound."""
    pool = yield from read_pool(name)
    if pool is None:
        raise pool_not_found(name, (yield from read_pool_names()))
    return pool


def pool_not_found(name: str, existing: Iterable[str]) -> ObjectNotFound:
    """The error for a work pool that doesn't exist."""
    return ObjectNotFound(f"there is no work pool '{name}'", help=suggest_name(name, existing))


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


def suggest_name(name: str, existing: Iterable[str]) -> str:
    """The help for an unknown name: the most similar name, else the first existing ones."""
    names = sorted(existing)
    own_names = [] if "/" in name else [each.partition("/")[2] for each in names]
    if guess := did_you_mean(name, [*names, *own_names]):
        return guess
    shown = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    return f"There are: {shown}." if names else "There is none yet."


def is_id(text: str) -> bool:
    """Whether the text is an id as the server writes it, with dashes."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _named(name: str) -> Json:
    return {"name": {"any_": [name]}}
