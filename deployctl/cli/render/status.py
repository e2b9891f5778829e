"""What `deployctl status` shows: pools, deployments, and runs that do not get on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from deployctl.app.operating.status import DeploymentStatus, PoolStatus, RunStatus, Status, StuckRun
from deployctl.cli.render.table import ago, table


def status(found: Status, now: datetime) -> Iterator[Text]:
    """Three tables; a sentence where there is nothing to put into one."""
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


def _pool(pool: PoolStatus) -> tuple[str, ...]:
    limit = "" if pool.concurrency_limit is None else str(pool.concurrency_limit)
    state = "PAUSED" if pool.paused else pool.status
    counts = (str(pool.workers_online), limit, str(pool.active_runs), str(pool.late_runs))
    return pool.name, pool.type, state, *counts


def _deployment(each: DeploymentStatus, now: datetime) -> tuple[str, ...]:
    if not each.deployed:
        return each.name, "", "not deployed", ""
    coming = ago(each.next_run.start, now) if each.next_run else "paused" if each.paused else ""
    due = f"due {coming}" if coming.endswith("ago") else coming
    return each.name, each.pool or "", _last(each.last_run, now), due


def _last(run: RunStatus | None, now: datetime) -> str:
    return f"{run.state} {ago(run.since, now)} ({run.name})" if run else ""


def _stuck(each: StuckRun, now: datetime) -> tuple[str, ...]:
    run = each.run
    return run.name, each.deployment, run.state, ago(run.since, now), each.reason or "unknown"
