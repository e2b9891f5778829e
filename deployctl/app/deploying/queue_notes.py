"""Notes about work queues that the server creates because a deployment names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api.calls import gather
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.work_pools import list_queues
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Key
from deployctl.templating.values import contains_unknown


def with_queue_notes(changes: Sequence[Change], session: Session) -> tuple[Change, ...]:
    """The changes with these notes. Raises ApiError."""
    queues = {queue for change in changes if (queue := _changed_queue(change))}
    pools = [change for change in changes if change.kind == "work_pool"]
    declared = {child.key for change in pools for child in change.children}
    created = {change.key[0] for change in pools if change.current is None}
    listings = {pool: list_queues(pool) for pool in {pool for pool, _ in queues} - created}
    found = run(gather(listings), session)
    existing = {(pool, queue["name"]) for pool, listed in found.items() for queue in listed}
    missing = queues - existing - declared
    return tuple(
        replace(change, notes=(*change.notes, f"the server will create the queue '{queue[1]}'"))
        if (queue := _changed_queue(change)) in missing
        else change
        for change in changes
    )


def _changed_queue(change: Change) -> Key:
    """The pool and queue that a change moves a deployment to; () if it doesn't move."""
    fields: Mapping[str, Json] = change.desired.fields if change.desired else {}
    pool, queue = fields.get("work_pool_name"), fields.get("work_queue_name")
    changed = {part.field for part in change.fields}
    if contains_unknown([pool, queue]):
        return ()
    if pool and queue and queue != "default" and changed & {"work_queue_name", "work_pool_name"}:
        return str(pool), str(queue)
    return ()
