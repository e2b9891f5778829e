"""Events for the event log of a 3.x server: builds the items of `POST /events`. Pure.

Names, resources and related resources are those of Prefect's own worker, so that automations and
the UI recognise them. Ids are derived from what happened, so an event that is sent again, by this
worker or by another, is the same event to the server.
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
"""Longest time in seconds between an event and the one that it names as `follows`: the server holds
an event back until the one that it follows arrives, and gives up after this time."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """The worker that events are about."""

    name: str
    type: str
    """Type of its pool: `kubernetes`, …"""
    pool: str
    """Id of its pool."""
    pool_name: str


def send(events: Sequence[Json]) -> Request:
    """Returns the request that records events; 2.20 has no such route unless it is enabled."""
    return Request("POST", "/events", list(events), subject="events", missing_ok=True)


def event(
    name: str,
    resource: Json,
    related: Sequence[Json],
    occurred: float,
    identity: str,
    follows: Json = None,
) -> Json:
    """Returns an event. `occurred`: seconds of the epoch; `identity`: equal for equal events;
    `follows`: the preceding event, if there is one."""
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
    """Returns a related resource: `prefect.<role>.<id>`."""
    found = {"prefect.resource.id": f"prefect.{role}.{id}", "prefect.resource.role": role}
    return found | ({"prefect.resource.name": name} if name else {})


def started(worker: WorkerIdentity, now: float) -> Json:
    """Returns the event of a worker that starts to poll."""
    return _worker_event("started", worker, (), now, f"{worker.name}:{now}")


def stopped(worker: WorkerIdentity, now: float, start: Json) -> Json:
    """Returns the event of a worker that stops; `start`: its `started` event."""
    return _worker_event("stopped", worker, (), now, f"{worker.name}:{start['id']}", start)


def submitted(worker: WorkerIdentity, run: Run, now: float) -> Json:
    """Returns the event of an attempt whose Job exists."""
    return _worker_event("submitted-flow-run", worker, _run_resources(run), now, run.attempt)


def executed(worker: WorkerIdentity, run: Run, now: float, *, pid: str, code: int) -> Json:
    """Returns the event of an attempt whose Job has ended. `code`: exit code, -1 if unknown."""
    flow_run, *others = _run_resources(run)
    flow_run["prefect.infrastructure.identifier"] = pid
    flow_run["prefect.infrastructure.status-code"] = str(code)
    about = (flow_run, *others)
    return _worker_event("executed-flow-run", worker, about, now, run.attempt)


def worker_id(type: str, name: str) -> str:  # noqa: A002
    """Returns a worker's resource id below `prefect.worker.`: `kubernetes.my-worker`."""
    from slugify import slugify

    return f"{type}.{slugify(name)}"


def _worker_event(
    what: str,
    worker: WorkerIdentity,
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


def _run_resources(run: Run) -> list[Json]:
    found = [related("flow-run", run.id, run.name)]
    if run.deployment:
        found.append(related("deployment", run.deployment))
    if run.flow:
        found.append(related("flow", run.flow))
    return found
