"""The work pools that deployments run on: declared, created, or only named and expected there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.work_pools import read_pool_names
from deployctl.app.deploying.desired_state import PoolInfo, pool_name
from deployctl.app.deploying.load import LoadedProject
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import JsonPath
from deployctl.core.suggest import did_you_mean
from deployctl.deploy import desired
from deployctl.deploy.model import Resource
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.variables import PoolVariables

_AGENTS = "prefect-agent"


def desired_pools(loaded: LoadedProject, default: str | None) -> list[Resource]:
    """The declared pools, and as items without fields those that deployments only name.

    Where the command means only some of the file's deployments, only their pools are meant.
    """
    named = {name for chosen in loaded.selected if (name := pool_name(chosen, default))}
    declared = {
        spec["name"]: desired.work_pool(spec)
        for spec in loaded.work_pools
        if loaded.selects_all or spec["name"] in named
    }
    others = (Resource("work_pool", (name,), {}) for name in sorted(named - declared.keys()))
    return [*declared.values(), *others]


def check_pools(
    pools: Sequence[Resource],
    live: Sequence[Resource],
    loaded: LoadedProject,
    session: Session,
    report: Report,
    *,
    create: bool,
    default: str | None,
) -> list[Resource]:
    """The pools as they should be; tells of those that are missing or of another type."""
    there = {item.key: item for item in live if item.kind == "work_pool"}
    missing = {pool.key[0] for pool in pools if pool.key not in there and not pool.fields}
    if missing and not create:
        _tell_missing(missing, run(read_pool_names(), session), loaded, report, default)
    for pool in pools:
        if pool.key in there:
            _check_type(pool, there[pool.key], loaded, report)
    for chosen in loaded.selected:
        if pool_name(chosen, default) is None:
            report.error(
                "DC511",
                f"the deployment '{chosen.name}' names no work pool, so nothing would run it",
                chosen.spec.span(),
                help="write 'work_pool: {name: …}', or give one with --pool",
            )
    return [pool if pool.key in there else _to_create(pool) for pool in pools]


def resolve_pools(pools: Sequence[Resource], live: Sequence[Resource]) -> dict[str, PoolInfo]:
    """What is known of each pool: a declared template counts, else the one that is there."""
    there = {item.key: item.fields for item in live if item.kind == "work_pool"}
    known = {}
    for pool in pools:
        fields = {**there.get(pool.key, {}), **pool.fields}
        variables = PoolVariables(fields.get("base_job_template"))
        known[pool.key[0]] = PoolInfo(fields.get("type") or "", variables)
    return known


def _to_create(pool: Resource) -> Resource:
    """A pool with what a new one needs; that nobody wrote it keeps it off the record.

    Pools of other types than ours get their template from the first worker that starts.
    """
    added = {name: value for name, value in _needed(pool).items() if name not in pool.fields}
    return replace(pool, fields={**added, **pool.fields}, passive=frozenset(added))


def _needed(pool: Resource) -> Mapping[str, object]:
    type_ = pool.fields.get("type", "kubernetes")
    template = base_job_template(type_)
    return {"type": type_} | ({"base_job_template": template} if template else {})


def _check_type(pool: Resource, live: Resource, loaded: LoadedProject, report: Report) -> None:
    name, type_ = pool.key[0], live.fields["type"]
    declared = pool.fields.get("type", type_)
    indexes = [i for i, spec in enumerate(loaded.work_pools) if spec["name"] == name]
    place: JsonPath = ("work_pools", *indexes[:1], "type") if indexes else ()
    if declared != type_:
        report.error(
            "DC515",
            f"the work pool '{name}' is of type '{type_}', which cannot become '{declared}'",
            loaded.document.spans.value(place),
            help="correct the type, or delete the pool on the server",
        )
    if type_ == _AGENTS:
        report.error(
            "DC515",
            f"the work pool '{name}' is one of agents, which run no deployment of this kind",
            loaded.document.spans.value(place),
            help="name a pool that has workers",
        )


def _tell_missing(
    missing: set[str],
    there: Sequence[str],
    loaded: LoadedProject,
    report: Report,
    default: str | None,
) -> None:
    for chosen in loaded.selected:
        name = pool_name(chosen, default)
        if name in missing:
            guess = (
                f"{did_you_mean(name, there) or ''} There are: {', '.join(there[:10]) or 'none'}."
            )
            report.error(
                "DC510",
                f"the work pool '{name}' does not exist",
                chosen.spec.span(("work_pool", "name")),
                help=f"{guess} Declare it under 'work_pools:', or let --create-pools make "
                "one of type kubernetes",
            )
