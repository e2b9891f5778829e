"""What a worker tells a 3.x server's event log: the bodies of `POST /events`, without sending any.

Names, resources and related resources are those of Prefect's own worker, so that automations and
the UI know them. Ids come from what happened and not from chance: an event that is sent again, by
this worker or another, is the same event to the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from deployctl import __version__
from deployctl.api.calls import Request
from deployctl.core.json_values import Json
from deployctl.worker.model import Run

FOLLOWS_WITHIN = 300.0
"""Seconds after which an event no longer names the one before: the server holds an event back for
the one that it follows, and gives that up after this time."""


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that events are about."""

    name: str
    type: str
    """The type of its pool: `kubernetes`, …"""
    pool: str
    """The id of its pool."""
    pool_name: str


def send(events: Sequence[Json]) -> Request:
    """The request that records events; 2.20 has no such route unless it is switched on there."""
    return Request("POST", "/events", list(events), subject="events", missing_ok=True)


def event(
    name: str,
    resource: Json,
    related: Sequence[Json],
    occurred: float,
    identity: str,
    follows: Json = None,
) -> Json:
    """An event. `occurred`: seconds of the epoch; `identity`: the same text for the same event;
    `follows`: the event before, if one is known."""
    body = {
        "id": str(uuid5(NAMESPACE_URL, identity)),
        "event": name,
        "occurred": datetime.fromtimestamp(occurred, UTC).isoformat(),
        "resource": resource,
        "related": list(related),
        "payload": {},
    }
    if follows is not None:
        before = datetime.fromisoformat(follows["occurred"]).timestamp()
        if abs(occurred - before) < FOLLOWS_WITHIN:
            body["follows"] = follows["id"]
    return body


def related(role: str, id: str, name: str = "") -> Json:  # noqa: A002
    """A related resource: `prefect.<role>.<id>`."""
    found = {"prefect.resource.id": f"prefect.{role}.{id}", "prefect.resource.role": role}
    return found | ({"prefect.resource.name": name} if name else {})


def started(worker: Worker, now: float) -> Json:
    """The worker has begun to poll."""
    return _of_worker("started", worker, (), now, f"{worker.name}:{now}")


def stopped(worker: Worker, now: float, start: Json) -> Json:
    """The worker ends; `start` is its event of having started."""
    return _of_worker("stopped", worker, (), now, f"{worker.name}:{start['id']}", start)


def submitted(worker: Worker, run: Run, now: float) -> Json:
    """The job of the run's attempt is there."""
    return _of_worker("submitted-flow-run", worker, _of_run(run), now, run.attempt)


def executed(worker: Worker, run: Run, now: float, *, pid: str, code: int) -> Json:
    """The job of the run's attempt has ended, with this exit code (-1 where it is not known)."""
    flow_run, *others = _of_run(run)
    flow_run["prefect.infrastructure.identifier"] = pid
    flow_run["prefect.infrastructure.status-code"] = str(code)
    about = (flow_run, *others)
    return _of_worker("executed-flow-run", worker, about, now, run.attempt)


def worker_id(type: str, name: str) -> str:  # noqa: A002
    """The resource id of a worker below `prefect.worker.`: `kubernetes.my-worker`."""
    from slugify import slugify

    return f"{type}.{slugify(name)}"


def _of_worker(
    what: str,
    worker: Worker,
    about: Sequence[Json],
    now: float,
    identity: str,
    follows: Json = None,
) -> Json:
    resource = {
        "prefect.resource.id": f"prefect.worker.{worker_id(worker.type, worker.name)}",
        "prefect.resource.name": worker.name,
        "prefect.worker-type": worker.type,
        "deployctl.version": __version__,
    }
    pool = related("work-pool", worker.pool, worker.pool_name)
    key = f"deployctl:{what}:{identity}"
    return event(f"prefect.worker.{what}", resource, (*about, pool), now, key, follows)


def _of_run(run: Run) -> list[Json]:
    found = [related("flow-run", run.id, run.name)]
    if run.deployment:
        found.append(related("deployment", run.deployment))
    if run.flow:
        found.append(related("flow", run.flow))
    return found
