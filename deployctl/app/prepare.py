"""From a project to a plan: what `plan` shows and `deploy` carries out.

The requests come in three steps, each one batch: the server's version and the project's record;
everything that the project is about; and, only where deployments change their queue, the queues.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import quote

from deployctl.api.dialect import Dialect, check, detect, refined
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.api.talk import Talk, together
from deployctl.app.assemble import Known, Pool, assemble, pool_name
from deployctl.app.load import Chosen, Loaded
from deployctl.clients.git import read_checkout
from deployctl.core.diagnostics import Report
from deployctl.core.errors import NotFound
from deployctl.core.values import Json
from deployctl.deploy import wanted
from deployctl.deploy.apply import read_live
from deployctl.deploy.kinds.base import pages
from deployctl.deploy.kinds.deployments import Deployments
from deployctl.deploy.model import Change, Item, Key, Plan
from deployctl.deploy.ownership import Record, read_record
from deployctl.deploy.plan import plan
from deployctl.jobs.pools import kubernetes_template
from deployctl.jobs.variables import PoolVariables
from deployctl.project.triggers import automations
from deployctl.steps.engine import plan_steps
from deployctl.steps.model import Step
from deployctl.templating.problems import tell
from deployctl.templating.references import Library, Reference, read_references, references
from deployctl.templating.render import Scope


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, and all that it takes to carry it out or to make it again."""

    loaded: Loaded
    plan: Plan
    record: Record
    dialect: Dialect
    known: Known
    pools: tuple[Item, ...]
    """The work pools that should be there."""
    live: tuple[Item, ...]

    @property
    def steps(self) -> dict[str, Sequence[Step]]:
        """The build and push steps of each deployment that has some."""
        return {} if self.known.steps_left_out else self.loaded.steps


def prepare(
    loaded: Loaded,
    session: Session,
    report: Report,
    environ: Mapping[str, str],
    folder: FilePath,
    *,
    create_pools: bool = False,
    skip_build: bool = False,
) -> Prepared:
    """Reads the server and plans. What stands in the way is in the report: with errors in it the
    plan is of no use. Raises ApiError where the server does not answer.
    """
    first: dict[str, Any] = run(
        together(
            {"dialect": detect(session.settings.is_cloud), "record": read_record(loaded.project)}
        ),
        session,
    )
    dialect, record = first["dialect"], first["record"]
    check(dialect, report)
    default = session.settings.default_work_pool_name
    pools = _wanted_pools(loaded, default)
    second: dict[str, Any] = _read(loaded, pools, record, dialect, session, report)
    live: list[Item] = second["live"]
    pools = _existing_or_created(pools, live, loaded, session, report, create_pools, default)
    known = Known(
        dialect=dialect,
        environ=environ,
        folder=folder,
        library=second["library"],
        pools=_known_pools(pools, live),
        default_pool=default,
        checkout=read_checkout(folder),
        steps_left_out=skip_build,
    )
    if loaded.steps and not skip_build:
        outputs, problems = plan_steps(loaded.steps, Scope(environ))
        tell(problems, report, loaded.document.spans.value)
        known = replace(known, outputs=outputs)
    made = Prepared(loaded, Plan(()), record, dialect, known, tuple(pools), tuple(live))
    return planned(made, session, report)


def planned(prepared: Prepared, session: Session, report: Report) -> Prepared:
    """The same with its plan made from what is known now."""
    chosen, known = prepared.loaded.chosen, prepared.known
    items = [*prepared.pools, *(assemble(each, known, report) for each in chosen)]
    if report.errors:
        return prepared
    made = plan(items, prepared.live, prepared.record.declared, prepared.dialect)
    dialect = prepared.dialect
    if any(_needs_upsert(change, dialect) for change in made.changes):
        dialect = run(refined(dialect), session)
        made = plan(items, prepared.live, prepared.record.declared, dialect)
    made = Plan(tuple(change for change in made.changes if _shown(change)))
    made = _with_queue_notes(made, session)
    return replace(prepared, plan=made, dialect=dialect)


def _read(
    loaded: Loaded,
    pools: Sequence[Item],
    record: Record,
    dialect: Dialect,
    session: Session,
    report: Report,
) -> dict[str, Any]:
    sketches = [_sketch(chosen, record) for chosen in loaded.chosen]
    talks: dict[str, Talk[Any]] = {
        "live": read_live([*pools, *sketches], dialect),
        "library": read_references(_references(loaded.chosen)),
    }
    try:
        return run(together(talks), session)
    except NotFound as error:
        if not any(chosen.fields.get("triggers") for chosen in loaded.chosen):
            raise
        for chosen in loaded.chosen:
            if chosen.fields.get("triggers"):
                report.error(
                    "DC513",
                    f"the server has no automations, which triggers need ({error.message})",
                    chosen.spec.where(("triggers",)),
                    help="switch them on: PREFECT_EXPERIMENTAL_EVENTS and "
                    "PREFECT_API_SERVICES_TRIGGERS_ENABLED on a 2.20 server",
                )
        return {"live": [], "library": Library({})}


def _sketch(chosen: Chosen, record: Record) -> Item:
    """The deployment as far as reading the server needs it: its key and its automations' names."""
    named = automations(chosen.key[1], chosen.fields.get("triggers") or ())
    keys = {(*chosen.key, body["name"]) for body in named}
    keys |= set(record.below("automation", chosen.key))
    children = tuple(Item("automation", key, {}) for key in sorted(keys))
    return Item("deployment", chosen.key, {}, children)


def _references(chosen: Iterable[Chosen]) -> list[Reference]:
    return [
        reference
        for each in chosen
        for path, reference in references(each.entry)
        if path[0] not in ("build", "push", "pull")
    ]


def _wanted_pools(loaded: Loaded, default: str | None) -> list[Item]:
    """The declared pools that matter here, and those that deployments only name."""
    declared = {spec["name"]: wanted.work_pool(spec) for spec in loaded.work_pools}
    named = [name for chosen in loaded.chosen if (name := pool_name(chosen, default))]
    others = {name: Item("work_pool", (name,), {}) for name in named if name not in declared}
    return [*declared.values(), *others.values()]


def _existing_or_created(
    pools: Sequence[Item],
    live: Sequence[Item],
    loaded: Loaded,
    session: Session,
    report: Report,
    create: bool,
    default: str | None,
) -> list[Item]:
    """The pools as they should be; tells of those that are missing and that nobody declared."""
    there = {item.key for item in live if item.kind == "work_pool"}
    missing = [pool.key[0] for pool in pools if pool.key not in there and not pool.fields]
    if missing and not create and not report.errors:
        found = run(pages("/work_pools/filter", {}, 1), session)
        _tell_missing(set(missing), sorted(pool["name"] for pool in found), loaded, report, default)
    for chosen in loaded.chosen:
        if pool_name(chosen, default) is None:
            report.error(
                "DC511",
                f"the deployment '{chosen.name}' names no work pool, so nothing would run it",
                chosen.spec.where(),
                help="write 'work_pool: {name: …}', or give one with --pool",
            )
    return [_with_template(pool) if pool.key not in there else pool for pool in pools]


def _with_template(pool: Item) -> Item:
    """A pool to create; our template unless it has one or is of another type, whose worker has."""
    fields = {"type": "kubernetes", **pool.fields}
    if fields["type"] == "kubernetes":
        fields.setdefault("base_job_template", kubernetes_template())
    return replace(pool, fields=fields)


def _tell_missing(
    missing: set[str], there: Sequence[str], loaded: Loaded, report: Report, default: str | None
) -> None:
    for chosen in loaded.chosen:
        name = pool_name(chosen, default)
        if name in missing:
            close = get_close_matches(name, there, 1)
            guess = f"did you mean '{close[0]}'? " if close else ""
            listed = ", ".join(there[:10]) or "none"
            report.error(
                "DC510",
                f"the work pool '{name}' does not exist",
                chosen.spec.where(("work_pool", "name")),
                help=f"{guess}There are: {listed}. Declare it under 'work_pools:', or let "
                "--create-pools make one of type kubernetes",
            )


def _known_pools(pools: Sequence[Item], live: Sequence[Item]) -> dict[str, Pool]:
    """What is known of each pool: a declared template counts, else the one that is there."""
    there = {item.key: item.fields for item in live if item.kind == "work_pool"}
    known = {}
    for pool in pools:
        fields = {**there.get(pool.key, {}), **pool.fields}
        template = fields.get("base_job_template")
        known[pool.key[0]] = Pool(fields.get("type") or "", PoolVariables(template))
    return known


def _needs_upsert(change: Change, dialect: Dialect) -> bool:
    return change.kind == "deployment" and Deployments.by_upsert(change, dialect)


def _shown(change: Change) -> bool:
    """Whether a change belongs to the plan: a pool that is only named and is there does not."""
    return change.needed or change.want is None or bool(change.want.fields or change.want.children)


def _with_queue_notes(made: Plan, session: Session) -> Plan:
    """Notes the queues that the server will create because a deployment names them."""
    asked = {moved for change in made.changes if (moved := _moved_to(change))}
    pools = [change for change in made.changes if change.kind == "work_pool"]
    declared = {child.key for change in pools for child in change.children}
    created = {change.key[0] for change in pools if change.have is None}
    listings = {
        pool: pages(f"/work_pools/{quote(pool, safe='')}/queues/filter", {}, 1)
        for pool in sorted({pool for pool, _ in asked} - created)
    }
    found = run(together(listings), session)
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
    fields: Mapping[str, Json] = change.want.fields if change.want else {}
    pool, queue = fields.get("work_pool_name"), fields.get("work_queue_name")
    changed = {part.field for part in change.fields}
    moves = pool and queue and queue != "default"
    if moves and changed & {"work_queue_name", "work_pool_name"}:
        return str(pool), str(queue)
    return ()
