"""From a loaded project to a plan: what `plan` shows and `deploy` applies.

Requests are sent in three steps, each of them one batch: the server's version and the last-applied
record; everything that the project is about; and, only if deployments change their queue, queues.
A read that fails is raised: nothing is derived from what the server did not say. The exception are
automations, which a 2.20 server serves only if its settings say so: it is read again without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from deployctl.api.calls import ApiCall, gather
from deployctl.api.dialect import Dialect, detect, fetch_refined, warn_if_untested
from deployctl.api.driver import run, run_in_background
from deployctl.api.session import Session
from deployctl.app.deploying.build_steps import BuildPlan, with_expected_outputs
from deployctl.app.deploying.declared import desired_resources, sources
from deployctl.app.deploying.desired_state import PlanInputs, PoolInfo, desired_deployment
from deployctl.app.deploying.load import LoadedProject, SelectedDeployment
from deployctl.app.deploying.prepared_plan import NO_POOLS, PreparedPlan, with_undeclared
from deployctl.app.deploying.queue_notes import with_queue_notes
from deployctl.app.deploying.work_pools import check_pools, desired_pools, resolve_pools
from deployctl.clients.git import read_checkout
from deployctl.core.diagnostics import Report
from deployctl.core.errors import NotFound
from deployctl.deploy.apply import read_current
from deployctl.deploy.last_applied import LastApplied, read_last_applied
from deployctl.deploy.model import Change, Key, Plan, Resource
from deployctl.deploy.plan import plan
from deployctl.deploy.renames import carry_over
from deployctl.deploy.resources.deployments import Deployments
from deployctl.project.triggers import automations
from deployctl.templating.references import Reference, read_references, references

_NAMED_LATER = "outputs of steps name it, so it may exist already"


def prepare(
    loaded: LoadedProject,
    session: Session,
    report: Report,
    environ: Mapping[str, str],
    folder: Path,
    build_plan: BuildPlan,
    *,
    create_pools: bool = False,
    before: Mapping[str, PoolInfo] = NO_POOLS,
) -> PreparedPlan:
    """Reads the server and plans; the plan is empty if errors were reported.

    `before` are the pools that an earlier file of the command will create. Raises ApiError if the
    server doesn't answer.
    """
    if build_plan.outputs is not None and loaded.is_named_by_steps:
        known = build_plan.outputs
        loaded, outputs = loaded.with_names(known.outputs, environ, report)
        build_plan = replace(build_plan, outputs=replace(known, outputs=outputs))
    first: dict[str, Any] = run(
        gather(
            {
                "dialect": detect(session.settings.is_cloud),
                "last_applied": read_last_applied(loaded.project),
            }
        ),
        session,
    )
    dialect, last_applied = first["dialect"], first["last_applied"]
    warn_if_untested(dialect, report)
    default = session.settings.default_work_pool_name
    pools = [
        pool for pool in desired_pools(loaded, default) if pool.fields or pool.name not in before
    ]
    declared = desired_resources(loaded, dialect, report)
    # The server takes ten times as long to answer as all other work of a plan: overlap them.
    roots = [*declared, *pools]
    reading = run_in_background(_read_all(loaded, roots, last_applied, dialect), session)
    loaded = loaded.check_parameters(report)
    checkout = read_checkout(folder)
    try:
        second = reading.result()
    except NotFound:
        has_triggers = any(each.fields.get("triggers") for each in loaded.selected)
        if dialect.major >= 3 or not has_triggers:
            raise
        dialect = replace(dialect, has_automations=False)
        second = run(_read_all(loaded, roots, last_applied, dialect), session)
    current: list[Resource] = second["current"]
    pools, loaded = check_pools(
        pools, current, loaded, session, report, create=create_pools, default=default
    )
    written = sources(declared, current, loaded, session, report)
    inputs = PlanInputs(
        dialect=dialect,
        environ=environ,
        folder=folder,
        references=second["references"].with_sources(written),
        pools={**before, **resolve_pools(pools, current)},
        default_pool=default,
        checkout=checkout,
        steps_skipped=not build_plan.runs_steps,
    )
    loaded, inputs = with_expected_outputs(inputs, loaded, build_plan, report, session)
    prepared = PreparedPlan(
        loaded,
        Plan(()),
        last_applied,
        dialect,
        inputs,
        (*declared, *pools),
        tuple(current),
        build_plan,
        create_pools,
        before,
    )
    return make_plan(prepared, session, report)


def make_plan(prepared: PreparedPlan, session: Session, report: Report) -> PreparedPlan:
    """`prepared` with a plan made from its inputs; unchanged if errors were reported."""
    inputs = prepared.inputs
    deployments: dict[Key, Resource] = {}

    def check(each: SelectedDeployment, own: Report) -> None:
        """Makes the desired deployment, and reports what prevents it."""
        deployments[each.key] = desired_deployment(each, inputs, own)

    prepared = replace(prepared, loaded=prepared.loaded.keep_valid(check, report))
    if report.blocking:
        return prepared
    desired = [*prepared.declared, *(deployments[each.key] for each in prepared.loaded.selected)]
    return _with_plan(replace(prepared, desired=tuple(desired)), session)


def plan_again(prepared: PreparedPlan, session: Session) -> PreparedPlan:
    """`prepared` with a plan against what the server has now. Raises ApiError."""
    reading: dict[str, ApiCall[Any]] = {
        "last_applied": read_last_applied(prepared.loaded.project),
        "current": _read_current(
            prepared.loaded, prepared.declared, prepared.last_applied, prepared.dialect
        ),
    }
    found = run(gather(reading), session)
    last_applied = with_taken_over(found["last_applied"], prepared.taken_over)
    is_complete = last_applied == prepared.last_applied
    notes = {(each.kind, each.key, each.op): each.notes for each in prepared.plan.changes}
    prepared = replace(prepared, last_applied=last_applied, current=tuple(found["current"]))
    again = _with_plan(prepared if is_complete else refresh(prepared, session), session)
    changes = tuple(
        replace(each, notes=notes.get((each.kind, each.key, each.op), each.notes))
        for each in again.plan.changes
    )
    return replace(again, plan=replace(again.plan, changes=changes))


def take_over(
    prepared: PreparedPlan, taken: Mapping[str, LastApplied], session: Session
) -> PreparedPlan:
    """`prepared` with a plan that knows what other projects declared on what moves to this one."""
    taken = {**prepared.taken_over, **taken}
    last_applied = with_taken_over(prepared.last_applied, taken)
    prepared = replace(prepared, last_applied=last_applied, taken_over=taken)
    return _with_plan(refresh(prepared, session), session)


def with_taken_over(record: LastApplied, taken: Mapping[str, LastApplied]) -> LastApplied:
    """The record with what moves to its project."""
    return reduce(LastApplied.merge, taken.values(), record)


def _with_plan(prepared: PreparedPlan, session: Session) -> PreparedPlan:
    dialect, declared = prepared.dialect, prepared.last_applied.declared
    found = plan(prepared.desired, prepared.current, declared, dialect)
    if any(_needs_upsert(change, dialect) for change in found.changes):
        dialect = run(fetch_refined(dialect), session)
        found = plan(prepared.desired, prepared.current, declared, dialect)
    later = {each.key for each in prepared.loaded.selected if each.is_named_by_steps}
    changes = [
        replace(change, notes=(*change.notes, _NAMED_LATER)) if change.key in later else change
        for change in found.changes
        if _is_shown(change)
    ]
    changes = [
        replace(change, notes=(*notes, *change.notes), renamed_from=prepared.renames[change.key])
        if change.kind == "deployment" and (notes := prepared.rename_notes.get(change.key))
        else change
        for change in changes
    ]
    shown = Plan(with_queue_notes(changes, session))
    return with_undeclared(replace(prepared, plan=shown, dialect=dialect))


def with_renames(
    prepared: PreparedPlan, renames: Mapping[Key, Key], session: Session
) -> PreparedPlan:
    """`prepared` with a plan that moves deployments: new key → old key. Raises ApiError."""
    existing = {root.key: root for root in prepared.current if root.kind == "deployment"}
    desired, notes = [], {}
    for root in prepared.desired:
        old = existing.get(renames.get(root.key, ())) if root.kind == "deployment" else None
        if old and root.key not in existing:
            root, kept = carry_over(root, old, prepared.last_applied.declared, prepared.dialect)
            notes[root.key] = tuple(_rename_notes(old.name, kept))
        desired.append(replace(root, renamed_from=renames.get(root.key, ()) if old else ()))
    return _with_plan(
        replace(prepared, desired=tuple(desired), renames=renames, rename_notes=notes), session
    )


def _rename_notes(old: str, kept: Sequence[str]) -> Iterator[str]:
    yield f"renamed from '{old}': no server renames, so this one is created and that one deleted"
    if kept:
        yield f"it keeps what the file does not declare: {', '.join(kept)}"


def refresh(prepared: PreparedPlan, session: Session) -> PreparedPlan:
    """`prepared` with the current resources read again, after a build that took its time."""
    reading = _read_current(
        prepared.loaded, prepared.declared, prepared.last_applied, prepared.dialect
    )
    return replace(prepared, current=tuple(run(reading, session)))


def _read_all(
    loaded: LoadedProject, declared: Sequence[Resource], last_applied: LastApplied, dialect: Dialect
) -> ApiCall[dict[str, Any]]:
    """Everything that the project is about, in one batch."""
    return gather(
        {
            "current": _read_current(loaded, declared, last_applied, dialect),
            "references": read_references(_references(loaded.selected)),
        }
    )


def _read_current(
    loaded: LoadedProject, declared: Sequence[Resource], last_applied: LastApplied, dialect: Dialect
) -> ApiCall[list[Resource]]:
    named = (each for each in loaded.selected if not each.is_named_by_steps)
    desired = [*declared, *map(_key_only, named)]
    olds = {each.renamed_from for each in loaded.selected if each.renamed_from}
    desired += [
        Resource("deployment", old, {}) for old in sorted(olds - {each.key for each in desired})
    ]
    if loaded.selects_all:
        keys = {(each.kind, each.key) for each in desired}
        desired += [Resource(*each, {}) for each in last_applied.roots() if each not in keys]
    parts = last_applied.parts()
    return read_current(
        [
            replace(root, children=(*root.children, *parts.get((root.kind, root.key), ())))
            for root in desired
        ],
        dialect,
    )


def _key_only(selected: SelectedDeployment) -> Resource:
    """The deployment with the keys of its automations: as much as reading the server needs."""
    bodies = automations(selected.key[1], selected.fields.get("triggers") or ())
    keys = sorted({(*selected.key, body["name"]) for body in bodies})
    children = tuple(Resource("automation", key, {}) for key in keys)
    return Resource("deployment", selected.key, {}, children)


def _references(selected: Iterable[SelectedDeployment]) -> list[Reference]:
    return [reference for each in selected for _, reference in references(each.entry)]


def _needs_upsert(change: Change, dialect: Dialect) -> bool:
    return change.kind == "deployment" and Deployments.by_upsert(change, dialect)


def _is_shown(change: Change) -> bool:
    """Whether a change is part of the plan: an existing pool that is only referenced is not."""
    desired = change.desired
    return change.is_needed or desired is None or bool(desired.fields or desired.children)
