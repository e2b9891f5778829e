"""From a project to a plan: what `plan` shows and `deploy` carries out.

The requests come in three steps, each one batch: the server's version and the project's record;
everything that the project is about; and, only where deployments change their queue, the queues.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deployctl.api.calls import ApiCall, gather
from deployctl.api.dialect import Dialect, detect, fetch_refined, warn_if_untested
from deployctl.api.driver import run, run_in_background
from deployctl.api.session import Session
from deployctl.api.work_pools import list_queues
from deployctl.app.deploying.build_steps import BuildPlan, with_expected_outputs
from deployctl.app.deploying.desired_state import PlanInputs, PoolInfo, desired_deployment
from deployctl.app.deploying.load import LoadedProject, SelectedDeployment
from deployctl.app.deploying.work_pools import check_pools, desired_pools, resolve_pools
from deployctl.clients.git import read_checkout
from deployctl.core.diagnostics import Report
from deployctl.core.errors import NotFound
from deployctl.core.json_values import Json
from deployctl.deploy.apply import read_current
from deployctl.deploy.last_applied import LastApplied, read_last_applied
from deployctl.deploy.model import Change, Key, Plan, Resource
from deployctl.deploy.plan import plan
from deployctl.deploy.resources.deployments import Deployments
from deployctl.project.triggers import automations
from deployctl.steps.model import Step
from deployctl.templating.references import Reference, ReferenceValues, read_references, references

NO_POOLS: Mapping[str, PoolInfo] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PreparedPlan:
    """A plan, and all that it takes to carry it out or to make it again."""

    loaded: LoadedProject
    plan: Plan
    last_applied: LastApplied
    dialect: Dialect
    inputs: PlanInputs
    pools: tuple[Resource, ...]
    """The work pools that should be there."""
    current: tuple[Resource, ...]
    build_plan: BuildPlan

    @property
    def steps(self) -> dict[str, Sequence[Step]]:
        """The build and push steps of each deployment that has some."""
        return self.loaded.steps if self.build_plan.runs_steps else {}


def prepare(
    loaded: LoadedProject,
    session: Session,
    report: Report,
    environ: Mapping[str, str],
    folder: Path,
    building: BuildPlan,
    *,
    create_pools: bool = False,
    before: Mapping[str, PoolInfo] = NO_POOLS,
) -> PreparedPlan:
    """Reads the server and plans. What stands in the way is in the report: with errors in it the
    plan is of no use. Raises ApiError where the server does not answer.

    `before`: pools that will be there because a file that comes before this one has them.
    """
    first: dict[str, Any] = run(
        gather(
            {
                "dialect": detect(session.settings.is_cloud),
                "record": read_last_applied(loaded.project),
            }
        ),
        session,
    )
    dialect, record = first["dialect"], first["record"]
    warn_if_untested(dialect, report)
    default = session.settings.default_work_pool_name
    pools = [
        pool for pool in desired_pools(loaded, default) if pool.fields or pool.name not in before
    ]
    reading = run_in_background(_reading(loaded, pools, record, dialect), session)
    loaded.check_parameters(report)
    checkout = read_checkout(folder)
    second = _heard(reading, loaded, report)
    live: list[Resource] = second["live"]
    pools = check_pools(pools, live, loaded, session, report, create=create_pools, default=default)
    known = PlanInputs(
        dialect=dialect,
        environ=environ,
        folder=folder,
        library=second["library"],
        pools={**before, **resolve_pools(pools, live)},
        default_pool=default,
        checkout=checkout,
        steps_skipped=not building.runs_steps,
    )
    known = with_expected_outputs(known, loaded, building, report, session)
    made = PreparedPlan(
        loaded, Plan(()), record, dialect, known, tuple(pools), tuple(live), building
    )
    return make_plan(made, session, report)


def make_plan(prepared: PreparedPlan, session: Session, report: Report) -> PreparedPlan:
    """The same with its plan made from what is known now."""
    chosen, known = prepared.loaded.selected, prepared.inputs
    items = [*prepared.pools, *(desired_deployment(each, known, report) for each in chosen)]
    if report.errors:
        return prepared
    made = plan(items, prepared.current, prepared.last_applied.declared, prepared.dialect)
    dialect = prepared.dialect
    if any(_needs_upsert(change, dialect) for change in made.changes):
        dialect = run(fetch_refined(dialect), session)
        made = plan(items, prepared.current, prepared.last_applied.declared, dialect)
    made = Plan(tuple(change for change in made.changes if _shown(change)))
    made = _with_queue_notes(made, session)
    return replace(prepared, plan=made, dialect=dialect)


def refresh(prepared: PreparedPlan, session: Session) -> PreparedPlan:
    """The same with what is on the server now, after a build that took its time."""
    talk = _live(prepared.loaded, prepared.pools, prepared.last_applied, prepared.dialect)
    return replace(prepared, current=tuple(run(talk, session)))


def _reading(
    loaded: LoadedProject, pools: Sequence[Resource], record: LastApplied, dialect: Dialect
) -> ApiCall[dict[str, Any]]:
    """Everything on the server that the project is about: one batch, if no listing has more pages.

    The server takes ten times as long over it as all the rest of a plan, so what else there is to
    do is done meanwhile.
    """
    talks: dict[str, ApiCall[Any]] = {
        "live": _live(loaded, pools, record, dialect),
        "library": read_references(_references(loaded.selected)),
    }
    return gather(talks)


def _live(
    loaded: LoadedProject, pools: Sequence[Resource], record: LastApplied, dialect: Dialect
) -> ApiCall[list[Resource]]:
    sketches = (_sketch(chosen, record) for chosen in loaded.selected)
    return read_current([*pools, *sketches], dialect)


def _heard(
    reading: Future[dict[str, Any]], loaded: LoadedProject, report: Report
) -> dict[str, Any]:
    """What was read; a server without automations is told of where there are triggers."""
    try:
        return reading.result()
    except NotFound as error:
        if not any(chosen.fields.get("triggers") for chosen in loaded.selected):
            raise
        for chosen in loaded.selected:
            if chosen.fields.get("triggers"):
                report.error(
                    "DC513",
                    f"the server has no automations, which triggers need ({error.message})",
                    chosen.spec.span(("triggers",)),
                    help="switch them on: PREFECT_EXPERIMENTAL_EVENTS and "
                    "PREFECT_API_SERVICES_TRIGGERS_ENABLED on a 2.20 server",
                )
        return {"live": [], "library": ReferenceValues({})}


def _sketch(chosen: SelectedDeployment, record: LastApplied) -> Resource:
    """The deployment as far as reading the server needs it: its key and its automations' names."""
    named = automations(chosen.key[1], chosen.fields.get("triggers") or ())
    keys = {(*chosen.key, body["name"]) for body in named}
    keys |= set(record.below("automation", chosen.key))
    children = tuple(Resource("automation", key, {}) for key in sorted(keys))
    return Resource("deployment", chosen.key, {}, children)


def _references(chosen: Iterable[SelectedDeployment]) -> list[Reference]:
    return [
        reference
        for each in chosen
        for path, reference in references(each.entry)
        if path[0] not in ("build", "push", "pull")
    ]


def _needs_upsert(change: Change, dialect: Dialect) -> bool:
    return change.kind == "deployment" and Deployments.by_upsert(change, dialect)


def _shown(change: Change) -> bool:
    """Whether a change belongs to the plan: a pool that is only named and is there does not."""
    return (
        change.is_needed
        or change.desired is None
        or bool(change.desired.fields or change.desired.children)
    )


def _with_queue_notes(made: Plan, session: Session) -> Plan:
    """Notes the queues that the server will create because a deployment names them."""
    asked = {moved for change in made.changes if (moved := _moved_to(change))}
    pools = [change for change in made.changes if change.kind == "work_pool"]
    declared = {child.key for change in pools for child in change.children}
    created = {change.key[0] for change in pools if change.current is None}
    listings = {pool: list_queues(pool) for pool in {pool for pool, _ in asked} - created}
    found = run(gather(listings), session)
    there = {(pool, queue["name"]) for pool, queues in found.items() for queue in queues}
    missing = asked - there - declared
    return Plan(
        tuple(
            replace(change, notes=(*change.notes, f"the server will create the queue '{moved[1]}'"))
            if (moved := _moved_to(change)) in missing
            else change
            for change in made.changes
        )
    )


def _moved_to(change: Change) -> Key:
    """The pool and the queue that a change moves a deployment to; () if it moves nowhere."""
    fields: Mapping[str, Json] = change.desired.fields if change.desired else {}
    pool, queue = fields.get("work_pool_name"), fields.get("work_queue_name")
    changed = {part.field for part in change.fields}
    moves = pool and queue and queue != "default"
    if moves and changed & {"work_queue_name", "work_pool_name"}:
        return str(pool), str(queue)
    return ()
