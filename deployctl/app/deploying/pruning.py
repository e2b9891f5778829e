"""Adds the deletes of `--prune` to plans, with what goes with them, and guards them.

The guard stops a prune that is probably not meant: of more than half of a project, of what another
project declares, and of a work pool or queue that deployments use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.driver import run
from deployctl.api.paging import pages
from deployctl.api.session import Session
from deployctl.api.states import ACTIVE, FINAL, PAUSED, SCHEDULED
from deployctl.app.deploying.prepared_plan import PreparedPlan, with_undeclared
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.json_values import Json
from deployctl.core.suggest import shortened
from deployctl.deploy.last_applied import LastApplied, read_other_records
from deployctl.deploy.model import Change, Key, Op
from deployctl.deploy.prune import deleted_keys, is_most

_RUNS = {"scheduled": (SCHEDULED,), "active": (*ACTIVE, PAUSED), "finished": FINAL}
"""Word → types of the states of runs that the deletion of a deployment concerns alike."""
_SHOWN = 3
"""Names that a message lists."""


def prune(
    prepared: Sequence[PreparedPlan], session: Session, report: Report, *, severity: Severity | None
) -> list[PreparedPlan]:
    """The plans of all files of a command, with deletes of what none of them declares any more.

    What the guard finds is reported as DC528 with this severity; None: the user has confirmed it.
    Raises ApiError.
    """
    pruned: list[PreparedPlan] = []
    for each in prepared:
        elsewhere = {
            key: other.loaded.project
            for other in prepared
            if other is not each
            for key in other.desired_keys
        }
        elsewhere |= {
            ("deployment", old): other.loaded.project
            for other in prepared
            if other is not each
            for old in other.renames.values()
        }
        # Of two files of one project, the first one deletes.
        elsewhere |= {
            key: other.loaded.project
            for other in pruned
            if other.loaded.project == each.loaded.project
            for key in deleted_keys(other.plan.changes)
        }
        pruned.append(with_undeclared(replace(each, prune=True, elsewhere=elsewhere)))
    after = _places(pruned)
    for each in pruned:
        if severity is not None and each.plan.deletes:
            _guard(each, after, session, report, severity)
    return [
        replace(each, plan=replace(each.plan, changes=with_run_notes(each.plan.changes, session)))
        for each in pruned
    ]


def _places(prepared: Iterable[PreparedPlan]) -> dict[str, Key]:
    """Id of a deployment that the command changes → its pool and queue after that; () if none."""
    places: dict[str, Key] = {}
    for change in (change for each in prepared for change in each.plan.changes):
        if change.kind == "deployment" and change.current:
            fields = {**change.current.fields, **(change.desired.fields if change.desired else {})}
            place = (str(fields.get("work_pool_name")), str(fields.get("work_queue_name")))
            places[change.current.id] = () if change.op is Op.DELETE else place
    return places


def _guard(
    prepared: PreparedPlan,
    places: Mapping[str, Key],
    session: Session,
    report: Report,
    severity: Severity,
) -> None:
    changes = prepared.plan.deletes
    project, roots = prepared.loaded.project, prepared.last_applied.roots()
    problems = []
    deleted = [each for each in changes if (each.kind, each.key) in roots and not each.renamed_to]
    if is_most(deleted, len(roots)):
        problems.append(f"{len(deleted)} of the {len(roots)} resources of the project '{project}'")
    reading: dict[str, ApiCall[Any]] = {
        "records": read_other_records(project),
        "users": users_after(changes, places),
    }
    found = run(gather(reading), session)
    records: dict[str, LastApplied] = found["records"]
    for other, record in sorted(records.items()):
        shared = [each for each in changes if (each.kind, each.key) in record.everything]
        if shared:
            problems.append(
                f"{_listed(each.title for each in shared)}, which the project '{other}' declares"
            )
    users: dict[str, list[str]] = found["users"]
    problems += [
        f"{place}, which the deployments {_listed(names)} use"
        for place, names in sorted(users.items())
    ]
    for problem in problems:
        report.add(
            "DC528",
            f"--prune would delete {problem}",
            help="If that is meant, add --yes.",
            severity=severity,
        )


def users_after(
    changes: Sequence[Change], places: Mapping[str, Key]
) -> ApiCall[dict[str, list[str]]]:
    """Title of a pool or queue that changes delete → deployments that are in it after the command.

    `places`: id of a deployment that the command changes → its pool and queue after that; () if
    it is deleted.
    """
    deleted = {each.key: each for each in changes if each.kind in ("work_pool", "work_queue")}
    found: dict[str, list[str]] = {}
    if deleted:
        pools = sorted({key[0] for key in deleted})
        body = {"work_pools": {"name": {"any_": pools}}, "sort": "CREATED_DESC"}
        for each in (yield from pages(paths.DEPLOYMENTS, body, 1)):
            place = places.get(each["id"], (each["work_pool_name"], each["work_queue_name"]))
            for key in {place[:1], place} & deleted.keys():
                found.setdefault(deleted[key].title, []).append(each["name"])
    return found


def with_run_notes(changes: Sequence[Change], session: Session) -> tuple[Change, ...]:
    """The changes with notes on the flow runs of deployments that are deleted. Raises ApiError."""
    deleted = [each.current.id for each in changes if _deletes_deployment(each) and each.current]
    counts = run(
        gather(
            {
                identity: gather(
                    {word: _count_runs(identity, types) for word, types in _RUNS.items()}
                )
                for identity in deleted
            }
        ),
        session,
    )
    return tuple(
        replace(each, notes=(*each.notes, *_run_notes(counts[each.current.id])))
        if each.current and _deletes_deployment(each)
        else each
        for each in changes
    )


def _deletes_deployment(change: Change) -> bool:
    return change.kind == "deployment" and change.op is Op.DELETE


def _count_runs(deployment_id: str, types: Iterable[str]) -> ApiCall[int]:
    state = {"type": {"any_": list(types)}}
    body: Json = {"flow_runs": {"deployment_id": {"any_": [deployment_id]}, "state": state}}
    count: int = yield from call(Request("POST", paths.FLOW_RUN_COUNT, body))
    return count


def _run_notes(counts: Mapping[str, int]) -> Iterator[str]:
    """What becomes of the runs of a deleted deployment."""
    for word, one, several in (
        ("scheduled", "is deleted with it", "are deleted with it"),
        ("active", "goes on without its deployment", "go on without their deployment"),
        ("finished", "stays without its deployment", "stay without their deployment"),
    ):
        if count := counts[word]:
            yield f"{count} {word} run{'s' * (count != 1)} {one if count == 1 else several}"


def _listed(names: Iterable[str]) -> str:
    return shortened(sorted(names), _SHOWN)
