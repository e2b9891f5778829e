"""The work pool that a worker serves: found or made once, read again with every heartbeat.

Unlike Prefect's worker, this one never makes a pool anew that was deleted while it ran: the
deployments of a deleted pool do not come back to a pool of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.work_pools import pool_request, read_pool
from deployctl.core.errors import Conflict, DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.suggest import did_you_mean


class PoolError(DeployctlError):
    """The work pool is not there, or is none that this worker can serve."""

    code = "DC603"


@dataclass(frozen=True, slots=True)
class PoolState:
    """What of a work pool keeps runs from coming, besides there being none."""

    is_gone: bool = False
    is_paused: bool = False
    paused_queues: tuple[str, ...] = ()
    unknown_queues: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    """All that there are."""


def find_or_create(
    name: str, wanted_type: str | None, template: Callable[[str], Json], *, create: bool
) -> ApiCall[Json]:
    """The pool that a worker is to serve.

    `template` gives the base job template for a type, None for one that nobody here runs: of a pool
    that is made (of type kubernetes unless `wanted_type` says otherwise), and of one that is there
    without any, as Prefect's workers fill it in. Raises PoolError.
    """
    pool = yield from read_pool(name)
    if pool is None:
        if not create:
            raise PoolError(
                f"there is no work pool '{name}'",
                help="Create it with `deployctl work-pool create`, or leave out "
                "--no-create-pool-if-not-found.",
            )
        made = template(wanted_type or "kubernetes")
        if made is None:
            raise PoolError(
                f"there is no work pool '{name}', and none of type '{wanted_type}' can be made",
                help="Take one of the types 'kubernetes', 'docker' and 'process'.",
            )
        pool = yield from _create(name, wanted_type or "kubernetes", made)
    if wanted_type is not None and wanted_type != pool["type"]:
        raise PoolError(
            f"the work pool '{name}' is of type '{pool['type']}', not '{wanted_type}'",
            help="Leave --type out, or name another pool.",
        )
    if pool.get("is_push_pool") or pool["type"].endswith((":push", ":managed")):
        raise PoolError(
            f"the work pool '{name}' is of type '{pool['type']}', which needs no worker",
            help="The server of Prefect runs its flows by itself.",
        )
    if not pool.get("base_job_template"):
        filled = template(pool["type"]) or {}
        body = {"base_job_template": filled}
        yield from call(pool_request(name, "PATCH", body))
        pool = {**pool, "base_job_template": filled}
    return pool


def _create(name: str, type_: str, template: Json) -> ApiCall[Json]:
    body = {"name": name, "type": type_, "base_job_template": template}
    try:
        return (
            yield from call(Request("POST", paths.WORK_POOLS, body, subject=f"work pool '{name}'"))
        )
    except Conflict:
        return (yield from call(pool_request(name, "GET")))


def look(name: str, queues: Sequence[str]) -> ApiCall[tuple[Json, PoolState]]:
    """The pool and what keeps runs from coming; None and `is_gone` where it was deleted."""
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
    known = {queue["name"]: queue["is_paused"] for queue in found or ()}
    wanted = queues or known
    return pool, PoolState(
        is_paused=bool(pool.get("is_paused")),
        paused_queues=tuple(queue for queue in wanted if known.get(queue)),
        unknown_queues=tuple(queue for queue in queues if queue not in known),
        queues=tuple(known),
    )


def problems(name: str, state: PoolState) -> dict[str, str]:
    """What keeps runs from coming, as sentences, by the part that is to blame: pool or queue."""
    found = {}
    if state.is_gone:
        found["pool"] = f"the work pool '{name}' was deleted; it is not made anew"
    elif state.is_paused:
        found["pool"] = f"the work pool '{name}' is paused"
    if state.unknown_queues:
        found["queue"] = f"the work pool '{name}' has no queue {_names(state.unknown_queues)}"
    elif state.paused_queues:
        found["queue"] = f"paused in the work pool '{name}': {_names(state.paused_queues)}"
    return found


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def check_queues(name: str, state: PoolState) -> None:
    """Raises PoolError for a queue that the pool does not have: nothing would ever come from it."""
    for queue in state.unknown_queues:
        raise PoolError(
            f"the work pool '{name}' has no queue '{queue}'",
            help=did_you_mean(queue, state.queues) or f"It has {_names(state.queues)}.",
        )


def replaced(name: str) -> PoolError:
    """The error for a pool that was deleted and made anew: another one, with runs of its own."""
    return PoolError(
        f"the work pool '{name}' was deleted, and there is another of that name",
        help="Start the worker again for the new one. Jobs of the old one run on.",
    )


def heartbeat(pool: str, worker: str, interval: float) -> ApiCall[None]:
    """Tells the server that the worker is alive; it counts as offline after three intervals."""
    yield from call(
        Request(
            "POST",
            f"{paths.workers(pool)}heartbeat",
            {"name": worker, "heartbeat_interval_seconds": interval},
            subject=f"worker '{worker}'",
        )
    )
