"""Reads what an export is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deployctl.api import paths
from deployctl.api.calls import ApiCall, gather
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.app.deploying.desired_state import PoolInfo
from deployctl.core.errors import NotFound, UsageError
from deployctl.core.json_values import Json
from deployctl.core.suggest import did_you_mean
from deployctl.deploy.model import Resource
from deployctl.deploy.resources.deployments import current_deployment
from deployctl.jobs.variables import PoolVariables
from deployctl.project.selection import Candidate, match_candidates


@dataclass(frozen=True, slots=True)
class ServerState:
    """The selected deployments, sorted by name, and the work pools of the server."""

    dialect: Dialect
    deployments: Sequence[Resource]
    pools: Mapping[str, PoolInfo]


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """Which deployments of the server are exported: those that all given options select."""

    names: tuple[str, ...] = ()
    """Names, `FLOW/NAME`, or either with `*` in it."""
    pool: str | None = None


def read_server(dialect: Dialect, selection: ExportSelection) -> ApiCall[ServerState]:
    """Reads deployments with their schedules and automations. Raises UsageError if none matches."""
    automations = yield from _automations(dialect)
    # Flows last, so that none is missing of a deployment that has just been created.
    listed = yield from pages(paths.DEPLOYMENTS, {"sort": "CREATED_DESC"}, 1)
    found = yield from gather(
        {
            "flows": pages(paths.FLOWS, {"sort": "NAME_ASC"}, len(listed)),
            "pools": pages(paths.WORK_POOLS, {}, 1),
        }
    )
    flows = {flow["id"]: flow["name"] for flow in found["flows"]}
    deployments = [
        current_deployment(flows[each["flow_id"]], each, automations, dialect)
        for each in listed
        if each["flow_id"] in flows
    ]
    pools = {
        each["name"]: PoolInfo(each["type"], PoolVariables(each["base_job_template"]))
        for each in found["pools"]
    }
    chosen = _selected(sorted(deployments, key=lambda each: each.key), selection)
    return ServerState(dialect, chosen, pools)


def _automations(dialect: Dialect) -> ApiCall[list[Json]]:
    """All automations; none if they are switched off, as they are in Prefect 2 by default."""
    if not dialect.has_automations:
        return []
    try:
        return (yield from pages(paths.AUTOMATIONS, {"sort": "CREATED_DESC"}, 1))
    except NotFound:
        return []


def _selected(deployments: Sequence[Resource], selection: ExportSelection) -> list[Resource]:
    candidates = [Candidate(each.key[0], each.key[1], "") for each in deployments]
    chosen: set[int] = set()
    for name in selection.names:
        matches = match_candidates(candidates, name)
        if not matches:
            known = [each.name for each in deployments]
            guess = did_you_mean(name, [*known, *(each.key[1] for each in deployments)])
            raise UsageError(f"no deployment on the server is called '{name}'", help=guess)
        chosen.update(matches)
    pool = selection.pool
    found = [
        each
        for index, each in enumerate(deployments)
        if (index in chosen or not selection.names)
        and (pool is None or each.fields["work_pool_name"] == pool)
    ]
    if not found:
        where = f" in the work pool '{pool}'" if pool else ""
        such = "such " * bool(selection.names)
        raise UsageError(f"the server has no {such}deployment{where}")
    return found
