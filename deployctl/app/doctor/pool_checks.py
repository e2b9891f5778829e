"""Checks of work pools: that they exist, can be served, and start their runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from deployctl.api import paths
from deployctl.api.calls import ApiCall, gather
from deployctl.api.driver import run
from deployctl.api.paging import pages
from deployctl.api.session import Session
from deployctl.api.work_pools import list_pools, list_queues
from deployctl.app.doctor.model import Area, Check, CheckStatus, failed, failed_with, ok, skipped
from deployctl.app.doctor.project_checks import ProjectFindings
from deployctl.app.operating.lookup import suggest_name, with_full_names
from deployctl.app.operating.status import PoolStatus, Scope, Status, read_status
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.suggest import quoted
from deployctl.worker.runtimes import RuntimeKind

AGENT = "prefect-agent"
"""Type of the pools that agents served. Prefect 3 has no agents."""
_MOVE = (
    "Agents are no longer part of Prefect 3. Create a pool with a worker, "
    "`deployctl work-pool create NEW --type kubernetes`, name it in prefect.yaml, run "
    "`deployctl deploy --all`, start `deployctl worker --pool NEW`, and delete this pool once its "
    "runs have ended: `deployctl work-pool delete {0}`."
)


@dataclass(frozen=True, slots=True)
class PoolFindings:
    """The checks of pools, and what the server has that jobs are made from."""

    checks: tuple[Check, ...]
    pools: tuple[Json, ...] = ()
    """The pools that were checked, as the server returns them."""
    deployments: tuple[Json, ...] = ()
    """Their deployments, with FLOW/NAME as `full_name`."""


def examine_pools(
    session: Session, pool: str | None, project: ProjectFindings, now: datetime
) -> PoolFindings:
    """Reads pools and their state: `pool`, else those of the project, else all.

    `now`: the server's time.
    """
    try:
        return run(_read(pool, project, now), session)
    except DeployctlError as error:
        return PoolFindings((failed_with(Area.POOLS, "read", error),))


def _read(pool: str | None, project: ProjectFindings, now: datetime) -> ApiCall[PoolFindings]:
    every = yield from list_pools()
    by_name = {each["name"]: each for each in every}
    requested = {pool} if pool else set(project.pools or by_name)
    checks = list(missing_pools(requested, by_name))
    found = [by_name[name] for name in sorted(requested & by_name.keys())]
    if not found:
        note = () if checks else (skipped(Area.POOLS, "pools", "the server has no work pool"),)
        return PoolFindings((*checks, *note))
    queues = yield from gather({each["name"]: list_queues(each["name"]) for each in found})
    names = [each["name"] for each in found]
    body = {"work_pools": {"name": {"any_": names}}, "sort": "CREATED_DESC"}
    deployments = yield from pages(paths.DEPLOYMENTS, body, 1)
    deployments = yield from with_full_names(deployments)
    status = yield from read_status(Scope(pool=pool, with_runs=False), now)
    states = {each.name: each for each in status.pools}
    for each in found:
        if each["name"] in states:
            checks += pool_checks(each, states[each["name"]], queues[each["name"]])
    outside = yield from _outside(project.queues, queues)
    checks += missing_queues(outside)
    deployments = [*deployments, *outside]
    faulty = {name for name in names if any(_is_about(check, name) for check in checks)}
    checks.append(stuck_check(status, [name for name in names if name not in faulty]))
    return PoolFindings(tuple(checks), tuple(found), tuple(deployments))


def missing_pools(requested: set[str], existing: Mapping[str, Json]) -> Iterator[Check]:
    """A failure for each requested pool that does not exist."""
    for name in sorted(requested - existing.keys()):
        yield failed(
            Area.POOLS,
            f"{name}: exists",
            f"there is no work pool '{name}'",
            f"{suggest_name(name, existing)} `deployctl work-pool create {name}` creates it.",
        )


def pool_checks(pool: Json, state: PoolStatus, queues: Sequence[Json]) -> Iterator[Check]:
    """Judges one pool: its type, whether it or a queue of it is paused, and its workers."""
    name = pool["name"]
    if pool["type"] == AGENT:
        cause = f"the work pool '{name}' is of type '{AGENT}', which no worker can serve"
        yield failed(Area.POOLS, f"{name}: type", cause, _MOVE.format(name))
        return
    serverless = bool(pool.get("is_push_pool")) or pool["type"].endswith((":push", ":managed"))
    foreign = not serverless and pool["type"] not in list(RuntimeKind)
    if foreign and not state.workers_online:
        kinds = ", ".join(f"'{kind}'" for kind in RuntimeKind)
        yield failed(
            Area.POOLS,
            f"{name}: type",
            f"the work pool '{name}' is of type '{pool['type']}', which deployctl does not run, "
            "and no other worker of it is online",
            f"Serve it with Prefect's own worker, `prefect worker start --pool {name}`, or use a "
            f"pool of one of the types {kinds}: `deployctl work-pool create NEW`.",
        )
        return
    yield ok(Area.POOLS, f"{name}: type", pool["type"])
    yield from _paused(name, state, queues)
    if serverless:
        yield ok(Area.POOLS, f"{name}: workers", "the server runs its flows by itself")
    elif state.workers_online:
        count = state.workers_online
        yield ok(Area.POOLS, f"{name}: workers", f"{count} worker{'s' * (count != 1)} online")
    else:
        yield failed(
            Area.POOLS,
            f"{name}: workers",
            f"no worker of the work pool '{name}' is online",
            f"Start one here with `deployctl worker --pool {name}`, or in a cluster with "
            f"`deployctl manifests worker --pool {name} | kubectl apply -f -`.",
        )


def _paused(name: str, state: PoolStatus, queues: Sequence[Json]) -> Iterator[Check]:
    if state.paused:
        yield failed(
            Area.POOLS,
            f"{name}: paused",
            f"the work pool '{name}' is paused",
            f"`deployctl work-pool update {name} --no-paused` resumes it.",
        )
        return
    paused = [each["name"] for each in queues if each.get("is_paused")]
    if paused:
        yield failed(
            Area.POOLS,
            f"{name}: paused",
            f"paused in the work pool '{name}': {quoted(paused)}",
            f"`prefect work-queue resume {paused[0]} --pool {name}` resumes it.",
        )
        return
    yield ok(Area.POOLS, f"{name}: paused", "neither the pool nor a queue of it")


def _outside(
    named: Mapping[tuple[str, str], tuple[str, str]], queues: Mapping[str, Sequence[Json]]
) -> ApiCall[list[Json]]:
    """The deployments of the file that have lost their queue, with the pool and queue of the file.

    Deleting a queue takes its deployments out of their pool, so they are looked up by name. Those
    that are not deployed yet are left out: a deploy creates their queue.
    """
    lacking = {
        "/".join(key): (pool, queue)
        for key, (pool, queue) in named.items()
        if pool in queues and queue not in {each["name"] for each in queues[pool]}
    }
    if not lacking:
        return []
    body = {"deployments": {"name": {"any_": sorted({name.split("/")[1] for name in lacking})}}}
    existing = yield from with_full_names((yield from pages(paths.DEPLOYMENTS, body, 1)))
    return [
        {**each, "work_pool_name": found[0], "work_queue_name": found[1]}
        for each in existing
        if (found := lacking.get(each["full_name"]))
    ]


def missing_queues(deployments: Sequence[Json]) -> Iterator[Check]:
    """A failure for each pool and queue of deployments that have lost their queue."""
    missing: dict[tuple[str, str], list[str]] = {}
    for each in deployments:
        key = (each["work_pool_name"], each["work_queue_name"])
        missing.setdefault(key, []).append(each["full_name"])
    for (pool, queue), names in missing.items():
        yield failed(
            Area.POOLS,
            f"{pool}: queue {queue}",
            f"the work pool '{pool}' has no queue '{queue}', which prefect.yaml names for "
            f"{quoted(names)}",
            "`deployctl deploy --all` creates it.",
        )


def _is_about(check: Check, pool: str) -> bool:
    return check.status is CheckStatus.FAILED and check.name.startswith(f"{pool}: ")


def stuck_check(status: Status, pools: Sequence[str]) -> Check:
    """Judges the stuck runs of pools that have no other failure, which would be their reason."""
    stuck = [each for each in status.stuck if each.pool in pools]
    if not stuck:
        return ok(Area.POOLS, "runs", "none is stuck for another reason")
    first = stuck[0]
    more = f", and {len(stuck) - 1} more" if len(stuck) > 1 else ""
    return failed(
        Area.POOLS,
        "runs",
        f"the run '{first.run.name}' of '{first.deployment}' is stuck"
        f" ({first.reason or 'unknown'}){more}",
        "`deployctl status --all` lists all stuck runs with their reasons.",
    )
