"""The work pools of deployments: declared in the file, created on request, or only referenced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.work_pools import read_pool_names
from deployctl.app.deploying.desired_state import PoolInfo, pool_name
from deployctl.app.deploying.load import LoadedProject, SelectedDeployment
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.suggest import did_you_mean
from deployctl.deploy import desired
from deployctl.deploy.model import Resource
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.variables import PoolVariables
from deployctl.project.coerce import is_unresolved

_AGENT_TYPE = "prefect-agent"


def desired_pools(loaded: LoadedProject, default: str | None) -> list[Resource]:
    """The declared pools, and without fields those that deployments only reference.

    If only some of the file's deployments are selected, so are only their pools.
    """
    names = (pool_name(each, default) for each in loaded.selected)
    named = {name for name in names if name and not is_unresolved(name)}
    declared = {
        spec["name"]: desired.work_pool(spec)
        for spec in loaded.work_pools
        if loaded.selects_all or spec["name"] in named
    }
    others = (Resource("work_pool", (name,), {}) for name in sorted(named - declared.keys()))
    return [*declared.values(), *others]


def check_pools(
    pools: Sequence[Resource],
    current: Sequence[Resource],
    loaded: LoadedProject,
    session: Session,
    report: Report,
    *,
    create: bool,
    default: str | None,
) -> tuple[list[Resource], LoadedProject]:
    """The desired pools, those to create complete; reports missing pools and wrong types.

    A pool that is missing and not created has no type, so nothing is derived from it. Also the
    project, without deployments that have no pool if the command keeps going.
    """
    existing = {each.key: each for each in current if each.kind == "work_pool"}
    missing = {pool.key[0] for pool in pools if pool.key not in existing and not pool.fields}
    names = run(read_pool_names(), session) if missing and not create else []
    for pool in pools:
        if pool.key in existing:
            _check_type(pool, existing[pool.key], loaded, report)

    def check(selected: SelectedDeployment, own: Report) -> None:
        """Reports a deployment without a pool (DC511), or whose pool doesn't exist (DC510)."""
        name = pool_name(selected, default)
        if name is None:
            own.add(
                "DC511",
                f"the deployment '{selected.name}' has no work pool, so nothing would run it",
                selected.spec.span(),
                help="Write 'work_pool: {name: …}', or give one with --pool.",
            )
        elif name in missing and not create:
            _report_missing(name, names, selected, own)

    loaded = loaded.keep_valid(check, report)
    if loaded.keeps_going and not create:
        pools = [pool for pool in pools if pool.key[0] not in missing]
    unknown = set() if create else missing
    kept = {*existing, *((name,) for name in unknown)}
    return [pool if pool.key in kept else complete_pool(pool) for pool in pools], loaded


def resolve_pools(pools: Sequence[Resource], current: Sequence[Resource]) -> dict[str, PoolInfo]:
    """Type and variables of each pool: of its declared template, else of the current one."""
    existing = {each.key: each.fields for each in current if each.kind == "work_pool"}
    resolved = {}
    for pool in pools:
        fields = {**existing.get(pool.key, {}), **pool.fields}
        variables = PoolVariables(fields.get("base_job_template"))
        resolved[pool.key[0]] = PoolInfo(fields.get("type") or "", variables)
    return resolved


def complete_pool(pool: Resource) -> Resource:
    """A pool to create, with the type and template that it needs.

    What isn't declared is passive, so that it isn't recorded as declared. Pools of types that
    deployctl doesn't run get their template from the first worker that starts.
    """
    type_ = pool.fields.get("type", "kubernetes")
    needed: dict[str, Json] = {"type": type_}
    if template := base_job_template(type_):
        needed["base_job_template"] = template
    added = {name: value for name, value in needed.items() if name not in pool.fields}
    return replace(pool, fields={**added, **pool.fields}, passive=frozenset(added))


def _check_type(pool: Resource, current: Resource, loaded: LoadedProject, report: Report) -> None:
    """Reports a type that would have to change, and pools of agents (DC515)."""
    name, type_ = pool.key[0], current.fields["type"]
    declared = pool.fields.get("type", type_)
    indexes = [i for i, spec in enumerate(loaded.work_pools) if spec["name"] == name]
    path: JsonPath = ("work_pools", *indexes[:1], "type") if indexes else ()
    if declared != type_:
        report.add(
            "DC515",
            f"the work pool '{name}' is of type '{type_}', which cannot become '{declared}'",
            loaded.document.spans.value(path),
            help="Correct the type, or delete the pool on the server.",
        )
    if type_ == _AGENT_TYPE:
        report.add(
            "DC515",
            f"the work pool '{name}' is one of agents, which don't run this kind of deployment",
            loaded.document.spans.value(path),
            help="Use a pool that has workers.",
        )


def _report_missing(
    name: str, existing: Sequence[str], selected: SelectedDeployment, report: Report
) -> None:
    """Reports a deployment whose pool doesn't exist (DC510)."""
    listed = ", ".join(existing[:10]) or "none"
    guess = f"{did_you_mean(name, existing) or ''} There are: {listed}.".strip()
    report.add(
        "DC510",
        f"the work pool '{name}' does not exist",
        selected.spec.span(("work_pool", "name")),
        help=f"{guess} Declare it under 'work_pools:', or use --create-pools to create "
        "one of type kubernetes.",
    )
