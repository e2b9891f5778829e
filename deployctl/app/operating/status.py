"""Current state of what is deployed: work pools, deployments, and stuck runs.

Two batches of requests: one for the objects, one for the state of each. A run is stuck if it is
late, was claimed and has not started, or waits for a process that is gone, whatever worker left it.
The server keeps no reason for a late run, so the reason comes from its pool and queue: paused,
polled by no worker, or at a concurrency limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.paging import PAGE, pages
from deployctl.api.states import ACTIVE, CANCELLING, PAUSED, PENDING, SCHEDULED, STARTED
from deployctl.api.work_pools import list_queues, read_pool_names
from deployctl.app.operating.lookup import (
    ObjectNotFound,
    newest_runs,
    pool_not_found,
    runs_filter,
    suggest_name,
    with_full_names,
)
from deployctl.app.operating.runs import parse_time
from deployctl.core.json_values import Json
from deployctl.project.selection import Candidate, match_candidates
from deployctl.worker.server.claim_marker import without_marker
from deployctl.worker.server.runs import is_in_process

STUCK_AFTER = timedelta(minutes=5)
"""How long a claimed run may take to start, and a process or worker to take its next step."""
_LOST = {
    SCHEDULED: "the process that was to retry it is gone, and the server offers it to no worker; "
    "change its state to Crashed in the UI, then retry it",
    PAUSED: "its pause has timed out, and no process is there to end it; "
    "change its state to Failed in the UI",
    CANCELLING: "no process or worker ends it; change its state to Cancelled in the UI",
}
"""Type of state → why a run that has been in it for too long stays there, and the way out."""
_NOT_STARTED = (
    "the worker that claimed it does not start it; change its state to Crashed in the UI if that "
    "worker is gone, then retry it"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What to report on. All fields empty: everything on the server."""

    keys: tuple[tuple[str, str], ...] | None = None
    """Flow and name of the deployments that a file declares."""
    names: tuple[str, ...] = ()
    """`NAME`, `FLOW/NAME`, or either with `*` in it."""
    pool: str | None = None
    with_runs: bool = True
    """Whether the last and the next run of each deployment are read: two requests for each."""


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """State of a work pool."""

    name: str
    type: str
    status: str
    """READY, NOT_READY or PAUSED; "" if the server reports none."""
    paused: bool
    concurrency_limit: int | None
    workers_online: int
    active_runs: int
    """Runs that take a slot of the concurrency limit."""
    late_runs: int


@dataclass(frozen=True, slots=True)
class RunStatus:
    """State of a run; times as the server writes them."""

    id: str
    name: str
    state: str
    since: str | None
    """When it entered this state."""
    start: str | None
    """When it started, or is scheduled to start."""


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """State of a deployment."""

    name: str
    """FLOW/NAME"""
    deployed: bool
    pool: str | None = None
    paused: bool = False
    last_run: RunStatus | None = None
    next_run: RunStatus | None = None


@dataclass(frozen=True, slots=True)
class StuckRun:
    """A run that is due and does not start, or that nothing moves on."""

    run: RunStatus
    deployment: str
    pool: str | None
    reason: str | None
    """None: unknown."""


@dataclass(frozen=True, slots=True)
class Status:
    """State of everything in a scope."""

    pools: tuple[PoolStatus, ...]
    deployments: tuple[DeploymentStatus, ...]
    stuck: tuple[StuckRun, ...]


def read_status(scope: Scope, now: datetime) -> ApiCall[Status]:
    """Reads the state of everything in the scope. Raises ObjectNotFound for an unknown name."""
    deployments = yield from _deployments(scope)
    pools = yield from _pools(scope, deployments)
    calls: dict[str, ApiCall[Any]] = {}
    for each in deployments if scope.with_runs else ():
        calls[f"last {each['id']}"] = newest_runs(runs_filter(each["id"], STARTED), 1)
        calls[f"next {each['id']}"] = _next_run(each["id"])
    for pool in pools:
        calls[f"workers {pool['name']}"] = _count_online_workers(pool["name"])
        calls[f"active {pool['name']}"] = _count_runs(pool["name"], {"type": {"any_": [*ACTIVE]}})
        calls[f"late {pool['name']}"] = _count_runs(pool["name"], {"name": {"any_": ["Late"]}})
        calls[f"queues {pool['name']}"] = list_queues(pool["name"])
    chunks = [deployments[at : at + PAGE] for at in range(0, len(deployments), PAGE)]
    for index, chunk in enumerate(chunks):
        calls[f"stuck {index}"] = _waiting_runs([each["id"] for each in chunk])
    found = yield from gather(calls)
    pool_states = {each["name"]: _pool(each, found) for each in pools}
    waiting = chain.from_iterable(found[f"stuck {index}"] for index in range(len(chunks)))
    by_id = {each["id"]: each for each in deployments}
    stuck = tuple(
        _stuck(run, by_id[run["deployment_id"]], pool_states, found)
        for run in waiting
        if is_stuck(run, now)
    )
    shown = [_deployment(each, found) for each in deployments]
    existing = {each.name for each in shown}
    missing = ("/".join(key) for key in scope.keys or () if "/".join(key) not in existing)
    shown += [DeploymentStatus(name, deployed=False) for name in missing]
    shown.sort(key=lambda each: each.name)
    return Status(tuple(pool_states.values()), tuple(shown), stuck)


def is_stuck(run: Json, now: datetime) -> bool:
    """Whether a run is late, or STUCK_AFTER has passed since something should have moved it on."""
    if run.get("state_name") == "Late":
        return True
    due = _next_step_due(run)
    return due is not None and now - parse_time(due) > STUCK_AFTER


def _next_step_due(run: Json) -> str | None:
    """When the process or worker of a run should have moved it on; None if nothing is to be said.

    A process that sleeps or is paused cannot be told from one that is gone until then.
    """
    state = run.get("state") or {}
    details = state.get("state_details") or {}
    times = {
        PENDING: state.get("timestamp"),
        CANCELLING: state.get("timestamp"),
        PAUSED: details.get("pause_timeout"),
        SCHEDULED: details.get("scheduled_time") or run.get("next_scheduled_start_time"),
    }
    kind = run.get("state_type")
    if kind == SCHEDULED and not is_in_process(run):
        return None
    return times.get(kind)


def stuck_reason(run: Json, pool: PoolStatus | None, queue: Json) -> str | None:
    """Why a run does not start: the message of its state, else the state of its pool and queue.

    For a run whose process is gone: that, and the way out.
    """
    kind = run.get("state_type")
    if kind in _LOST and (kind != SCHEDULED or is_in_process(run)):
        return _LOST[kind]
    if message := without_marker((run.get("state") or {}).get("message")):
        return message
    if pool is None:
        return "it has no work pool"
    if run.get("state_type") == PENDING:
        return None
    if pool.paused:
        return f"the work pool '{pool.name}' is paused"
    if queue is not None and queue.get("is_paused"):
        return f"the work queue '{queue['name']}' is paused"
    if not pool.workers_online and _needs_worker(pool.type):
        return f"no worker of the work pool '{pool.name}' is online"
    if pool.concurrency_limit is not None and pool.active_runs >= pool.concurrency_limit:
        return f"the work pool '{pool.name}' has reached its limit of {pool.concurrency_limit}"
    if queue is not None and queue.get("concurrency_limit") == 0:
        return f"the work queue '{queue['name']}' has a limit of 0"
    return None


def read_waiting_reason(deployment: Json) -> ApiCall[str | None]:
    """Why a new run of the deployment would not start now; None if it would, or has no pool."""
    name = deployment.get("work_pool_name")
    if not name:
        return None
    found: dict[str, Any] = yield from gather(
        {
            "pools": pages(paths.WORK_POOLS, {"work_pools": {"name": {"any_": [name]}}}, 1),
            f"workers {name}": _count_online_workers(name),
            f"active {name}": _count_runs(name, {"type": {"any_": [*ACTIVE]}}),
            "queues": list_queues(name),
        }
    )
    if not found["pools"]:
        return None
    pool = _pool(found["pools"][0], {**found, f"late {name}": 0})
    queue_name = deployment.get("work_queue_name")
    queue = next((each for each in found["queues"] if each["name"] == queue_name), None)
    return stuck_reason({}, pool, queue)


def _needs_worker(type_: str) -> bool:
    """Whether runs of a pool of this type wait for a worker; push and managed pools have none."""
    return not type_.endswith((":push", ":managed"))


def _deployments(scope: Scope) -> ApiCall[list[Json]]:
    body: dict[str, Json] = {"sort": "CREATED_DESC"}
    if scope.keys is not None:
        if not scope.keys:
            return []
        body["flows"] = {"name": {"any_": sorted({flow for flow, _ in scope.keys})}}
        body["deployments"] = {"name": {"any_": sorted({name for _, name in scope.keys})}}
    if scope.pool:
        body["work_pools"] = {"name": {"any_": [scope.pool]}}
    found = yield from pages(paths.DEPLOYMENTS, body, 1)
    found = yield from with_full_names(found)
    if scope.keys is not None:
        keys = {"/".join(key) for key in scope.keys}
        found = [each for each in found if each["full_name"] in keys]
    return _select(found, scope.names) if scope.names else found


def _select(deployments: Sequence[Json], names: Sequence[str]) -> list[Json]:
    """The deployments that match the names. Raises ObjectNotFound for a name that matches none."""
    split = (each["full_name"].partition("/") for each in deployments)
    candidates = [Candidate(flow, name, "") for flow, _, name in split]
    indexes: set[int] = set()
    for name in names:
        matches = match_candidates(candidates, name)
        if not matches:
            existing = [each["full_name"] for each in deployments]
            raise ObjectNotFound(
                f"there is no deployment '{name}'", help=suggest_name(name, existing)
            )
        indexes.update(matches)
    return [deployments[index] for index in sorted(indexes)]


def _pools(scope: Scope, deployments: Sequence[Json]) -> ApiCall[list[Json]]:
    """The pools of the scope, sorted by name; all pools only if the scope is everything."""
    body: Json = {}
    names = {each["work_pool_name"] for each in deployments} - {None}
    if scope.pool or scope.names or scope.keys is not None:
        names |= {scope.pool} if scope.pool else set()
        if not names:
            return []
        body = {"work_pools": {"name": {"any_": sorted(names)}}}
    found = yield from pages(paths.WORK_POOLS, body, 1)
    if scope.pool and not any(pool["name"] == scope.pool for pool in found):
        raise pool_not_found(scope.pool, (yield from read_pool_names()))
    return sorted(found, key=lambda pool: str(pool["name"]))


def _next_run(deployment: str) -> ApiCall[list[Json]]:
    body = {**runs_filter(deployment, [SCHEDULED]), "sort": "NEXT_SCHEDULED_START_TIME_ASC"}
    runs: list[Json] = yield from call(
        Request("POST", paths.listing(paths.FLOW_RUNS), {**body, "limit": 1})
    )
    return runs


def _count_online_workers(pool: str) -> ApiCall[int]:
    body = {"workers": {"status": {"any_": ["ONLINE"]}}}
    return len((yield from pages(paths.workers(pool), body, 1)))


def _count_runs(pool: str, state: Json) -> ApiCall[int]:
    body = {"flow_runs": {"state": state}, "work_pools": {"name": {"any_": [pool]}}}
    count: int = yield from call(Request("POST", paths.FLOW_RUN_COUNT, body))
    return count


def _waiting_runs(deployments: Sequence[str]) -> ApiCall[list[Json]]:
    """Runs of the deployments with these ids that may be stuck, the longest waiting first: late
    ones, claimed ones, those that wait for their process, and retries."""
    filters: Json = {"deployment_id": {"any_": list(deployments)}}
    bodies = (
        {"flow_runs": {**filters, "state": {"name": {"any_": ["Late"]}}}},
        {"flow_runs": {**filters, "state": {"type": {"any_": [PENDING, CANCELLING, PAUSED]}}}},
        {
            "flow_runs": {
                **filters,
                "state": {"type": {"any_": [SCHEDULED]}},
                "start_time": {"is_null_": False},
            }
        },
    )
    found = yield from gather(
        {
            str(index): pages(paths.FLOW_RUNS, {**body, "sort": "EXPECTED_START_TIME_ASC"}, 1)
            for index, body in enumerate(bodies)
        }
    )
    return list({run["id"]: run for each in found.values() for run in each}.values())


def _pool(pool: Json, found: Mapping[str, Any]) -> PoolStatus:
    name = pool["name"]
    return PoolStatus(
        name,
        pool["type"],
        pool.get("status") or "",
        bool(pool.get("is_paused")),
        pool.get("concurrency_limit"),
        found[f"workers {name}"],
        found[f"active {name}"],
        found[f"late {name}"],
    )


def _deployment(deployment: Json, found: Mapping[str, Any]) -> DeploymentStatus:
    last, upcoming = (found.get(f"{which} {deployment['id']}") for which in ("last", "next"))
    return DeploymentStatus(
        deployment["full_name"],
        deployed=True,
        pool=deployment.get("work_pool_name"),
        paused=bool(deployment.get("paused")),
        last_run=_run(last[0]) if last else None,
        next_run=_run(upcoming[0]) if upcoming else None,
    )


def _run(run: Json) -> RunStatus:
    state = run.get("state") or {}
    start = run.get("start_time") or run.get("next_scheduled_start_time")
    return RunStatus(
        run["id"],
        run["name"],
        run.get("state_name") or "",
        state.get("timestamp"),
        start or run.get("expected_start_time"),
    )


def _stuck(
    run: Json, deployment: Json, pools: Mapping[str, PoolStatus], found: Mapping[str, Any]
) -> StuckRun:
    name = deployment.get("work_pool_name")
    pool = pools.get(name or "")
    queues = found.get(f"queues {name}", ())
    queue = next((each for each in queues if each["id"] == run.get("work_queue_id")), None)
    reason = stuck_reason(run, pool, queue)
    if reason is None and run.get("state_type") == PENDING:
        reason = _NOT_STARTED
    return StuckRun(_run(run), deployment["full_name"], name, reason)
