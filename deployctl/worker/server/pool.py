"""The work pool of a worker: found or created at the start, read again with every heartbeat.

Unlike Prefect's worker, this one never recreates a pool that was deleted while it ran: the
deployments of a deleted pool do not return to a new pool of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.work_pools import pool_request, read_pool
from deployctl.core.errors import Conflict, DeployctlError
from deployctl.core.json_values import Json, same_json
from deployctl.core.suggest import did_you_mean
from deployctl.worker.health.health_state import Fault


class PoolError(DeployctlError):
    """The work pool does not exist, or this worker cannot serve it."""

    code = "DC603"


@dataclass(frozen=True, slots=True)
class PoolState:
    """What of a work pool keeps runs from being offered."""

    is_gone: bool = False
    is_paused: bool = False
    paused_queues: tuple[str, ...] = ()
    unknown_queues: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    """All queues of the pool."""


def find_or_create(
    name: str, pool_type: str | None, template: Callable[[str], Json], *, create: bool
) -> ApiCall[Json]:
    """Returns the pool that a worker is to serve; creates it if it is missing and `create` is set.

    `template` returns the base job template of a type, None for an unknown one. It is stored in a
    new pool (of type kubernetes unless `pool_type` says otherwise) and in an existing one that has
    none, as Prefect's workers do. Raises PoolError.
    """
    pool = yield from read_pool(name)
    if pool is None:
        if not create:
            raise PoolError(
                f"there is no work pool '{name}'",
                help="Create it with `deployctl work-pool create`, or leave out "
                "--no-create-pool-if-not-found.",
            )
        base_job_template = template(pool_type or "kubernetes")
        if base_job_template is None:
            raise PoolError(
                f"there is no work pool '{name}', and none of type '{pool_type}' can be created",
                help="Use one of the types 'kubernetes', 'docker' and 'process'.",
            )
        pool = yield from _create(name, pool_type or "kubernetes", base_job_template)
    check_servable(name, pool, pool_type)
    if not pool.get("base_job_template"):
        filled = template(pool["type"]) or {}
        yield from call(pool_request(name, "PATCH", {"base_job_template": filled}))
        pool = {**pool, "base_job_template": filled}
    return pool


def sync_base_job_template(pool: Json, template: Json) -> ApiCall[Json]:
    """Stores the base job template in a pool that has another one; None if it has the same."""
    if same_json(pool.get("base_job_template"), template):
        return None
    fields = {"base_job_template": template}
    yield from call(pool_request(pool["name"], "PATCH", fields))
    return {**pool, **fields}


def check_servable(name: str, pool: Json, pool_type: str | None) -> None:
    """Raises PoolError for a pool of another type than `pool_type`, or one that has no workers."""
    if pool_type is not None and pool_type != pool["type"]:
        raise PoolError(
            f"the work pool '{name}' is of type '{pool['type']}', not '{pool_type}'",
            help="Leave --type out, or name another pool.",
        )
    if pool.get("is_push_pool") or pool["type"].endswith((":push", ":managed")):
        raise PoolError(
            f"the work pool '{name}' is of type '{pool['type']}', which needs no worker",
            help="The Prefect server runs its flows by itself.",
        )


def _create(name: str, type_: str, template: Json) -> ApiCall[Json]:
    body = {"name": name, "type": type_, "base_job_template": template}
    subject = f"work pool '{name}'"
    try:
        return (yield from call(Request("POST", paths.WORK_POOLS, body, subject=subject)))
    except Conflict:
        return (yield from call(pool_request(name, "GET")))


def read_pool_state(name: str, queues: Sequence[str]) -> ApiCall[tuple[Json, PoolState]]:
    """Returns the pool and what keeps runs from being offered; None and `is_gone` if it is deleted.

    `queues`: the queues that the worker serves; empty: all.
    """
    pool, found = yield [
        pool_request(name, "GET", missing_ok=True),
        Request(
            "POST",
            paths.listing(paths.work_queues(name)),
            {},
            subject=f"the queues of work pool '{name}'",
            missing_ok=True,
        ),
    ]
    if pool is None:
        return None, PoolState(is_gone=True)
    paused = {queue["name"]: queue["is_paused"] for queue in found or ()}
    return pool, PoolState(
        is_paused=bool(pool.get("is_paused")),
        paused_queues=tuple(queue for queue in queues or paused if paused.get(queue)),
        unknown_queues=tuple(queue for queue in queues if queue not in paused),
        queues=tuple(paused),
    )


def problems(name: str, state: PoolState) -> dict[Fault, str]:
    """Returns what keeps runs from being offered: fault → message."""
    found = {}
    if state.is_gone:
        found[Fault.POOL] = f"the work pool '{name}' was deleted; it is not created again"
    elif state.is_paused:
        found[Fault.POOL] = f"the work pool '{name}' is paused"
    if state.unknown_queues:
        found[Fault.QUEUE] = f"the work pool '{name}' has no queue {_quoted(state.unknown_queues)}"
    elif state.paused_queues:
        found[Fault.QUEUE] = f"paused in the work pool '{name}': {_quoted(state.paused_queues)}"
    return found


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def check_queues(name: str, state: PoolState) -> None:
    """Raises PoolError for a queue that the pool does not have: it would never offer a run."""
    for queue in state.unknown_queues:
        raise PoolError(
            f"the work pool '{name}' has no queue '{queue}'",
            help=did_you_mean(queue, state.queues) or f"It has {_quoted(state.queues)}.",
        )


def replaced(name: str) -> PoolError:
    """Returns the error for a pool that was deleted and replaced by another of the same name."""
    return PoolError(
        f"the work pool '{name}' was deleted, and there is another of that name",
        help="Restart the worker to serve the new pool. Jobs of the old one keep running.",
    )


def heartbeat(pool: str, worker: str, interval: float) -> ApiCall[None]:
    """Sends a heartbeat; the worker counts as offline after three missed intervals (seconds).

    Servers from 3.0 on reject a fraction of a second, so the interval is rounded up.
    """
    yield from call(
        Request(
            "POST",
            f"{paths.workers(pool)}heartbeat",
            {"name": worker, "heartbeat_interval_seconds": math.ceil(interval)},
            subject=f"worker '{worker}'",
        )
    )
