"""Output of `deployctl status`: work pools, deployments, and stuck runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from deployctl.app.operating.status import DeploymentStatus, PoolStatus, RunStatus, Status, StuckRun
from deployctl.cli.render.table import relative_time, table
from deployctl.core.json_values import Json


def status(found: Status, now: datetime) -> Iterator[Text]:
    """A table of pools, of deployments, and of stuck runs; empty ones are left out."""
    if found.pools:
        yield from table(
            ("work pool", "type", "status", "workers", "limit", "active", "late"),
            [_pool(each) for each in found.pools],
        )
        yield Text()
    if found.deployments:
        yield from table(
            ("deployment", "work pool", "last run", "next run"),
            [_deployment(each, now) for each in found.deployments],
        )
    else:
        yield Text("There are no deployments.")
    if found.stuck:
        yield Text()
        yield from table(
            ("stuck run", "deployment", "state", "since", "reason"),
            [_stuck(each, now) for each in found.stuck],
        )


def status_json(found: Status) -> dict[str, Json]:
    """The keys of the JSON output."""
    return {
        "pools": [
            {
                "name": pool.name,
                "type": pool.type,
                "status": pool.status,
                "paused": pool.paused,
                "concurrency_limit": pool.concurrency_limit,
                "workers_online": pool.workers_online,
                "active_runs": pool.active_runs,
                "late_runs": pool.late_runs,
            }
            for pool in found.pools
        ],
        "deployments": [
            {
                "name": each.name,
                "deployed": each.deployed,
                "pool": each.pool,
                "paused": each.paused,
                "last_run": _run_json(each.last_run) if each.last_run else None,
                "next_run": _run_json(each.next_run) if each.next_run else None,
            }
            for each in found.deployments
        ],
        "stuck": [
            {
                "run": _run_json(each.run),
                "deployment": each.deployment,
                "pool": each.pool,
                "reason": each.reason,
            }
            for each in found.stuck
        ],
    }


def _run_json(run: RunStatus) -> Json:
    return {
        "id": run.id,
        "name": run.name,
        "state": run.state,
        "since": run.since,
        "start": run.start,
    }


def _pool(pool: PoolStatus) -> tuple[str, ...]:
    limit = "" if pool.concurrency_limit is None else str(pool.concurrency_limit)
    state = "PAUSED" if pool.paused else pool.status
    counts = (str(pool.workers_online), limit, str(pool.active_runs), str(pool.late_runs))
    return pool.name, pool.type, state, *counts


def _deployment(each: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    if not each.deployed:
        return each.name, "", "not deployed", ""
    return each.name, each.pool or "", _last(each.last_run, now), _next(each, now)


def _last(run: RunStatus | None, now: datetime) -> str:
    return f"{run.state} {relative_time(run.since, now)} ({run.name})" if run else ""


def _next(each: DeploymentStatus, now: datetime) -> str:
    if each.next_run is None:
        return "paused" if each.paused else ""
    time = relative_time(each.next_run.start, now)
    return f"due {time}" if time.endswith("ago") else time


def _stuck(each: StuckRun, now: datetime) -> tuple[str, ...]:
    run = each.run
    since = relative_time(run.since, now)
    return run.name, each.deployment, run.state, since, each.reason or "unknown"
