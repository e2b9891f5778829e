"""Destroys a project: deletes all that its last-applied record holds, and at the end the record.

What another project declares stays, and so does a work pool or queue that other deployments use.
The record is deleted only if everything else was, so that a command that was stopped is completed
by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deployctl.api.calls import gather
from deployctl.api.dialect import Dialect, detect
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.deploy import with_progress
from deployctl.app.deploying.load import ReadReferences
from deployctl.app.deploying.project_file import read_name_and_server
from deployctl.app.deploying.project_lock import LOCK_TIMINGS, ProjectLock
from deployctl.app.deploying.pruning import users_after, with_run_notes
from deployctl.core.diagnostics import Report
from deployctl.core.errors import UsageError
from deployctl.core.progress import Progress
from deployctl.core.suggest import did_you_mean, shortened
from deployctl.deploy.apply import apply, read_current
from deployctl.deploy.history import delete_history
from deployctl.deploy.last_applied import (
    LastApplied,
    delete_record,
    read_last_applied,
    read_other_records,
    root_of,
)
from deployctl.deploy.lock import LockLost
from deployctl.deploy.model import Change, Key, Plan, Resource, Result, kind_name
from deployctl.deploy.prune import deleted_keys, deletes
from deployctl.deploy.resources import RESOURCE_KINDS
from deployctl.project.document import Document, read_document
from deployctl.project.parse import parse_project
from deployctl.templating.grammar import has_placeholder
from deployctl.templating.problems import Problem
from deployctl.templating.references import references

_NAME_HELP = "Add --env NAME if the value is that of an environment, or use --project."
_SHOWN = 3
"""Deployments that a reason lists."""


@dataclass(frozen=True, slots=True)
class DestroyPlan:
    """What destroying a project deletes, and what it leaves."""

    project: str
    plan: Plan
    kept: Mapping[tuple[str, Key], str]
    """Kind and key of what stays → why."""
    record: LastApplied
    dialect: Dialect
    others: tuple[str, ...]
    """The other projects of the server."""


def read_file(
    path: Path, environment: str | None, environ: Mapping[str, str], report: Report
) -> Document | None:
    """The file of a project, with no more of its environment than its `name` and the server need.

    None if it cannot be read. Raises UsageError if the environment cannot have this name.
    """
    document = read_document(path, report, "--prefect-file, or the project with --project")
    if document is None or not environment:
        return document
    return read_name_and_server(path, document, environment, environ, report)


def project_of(
    document: Document, report: Report, environ: Mapping[str, str], read: ReadReferences
) -> str:
    """The project's name as a file gives it; what is wrong with it is reported.

    Only `name` is checked. `read` is called if the name contains references. Raises UsageError if
    the file has no name: that of its folder may be another one on the next machine.
    """
    path = document.file
    name = document.data.get("name")
    document = replace(document, data={"name": name} if name else {})
    named = [reference for _, reference in references(name)]
    found = Report()
    project = parse_project(document, found, environ, read(named) if named else None)
    report.extend(found)
    if has_placeholder(project.name) and not found.blocking:
        message = f"'name' cannot be resolved: '{project.name}'"
        document.report_problems([Problem(("name",), "DC133", message, _NAME_HELP)], report)
    if not name:
        raise UsageError(
            f"destroying needs a project name, and {path} has none",
            help="Add `name:` at its top level, or use --project.",
        )
    return project.name


def plan_destroy(project: str, session: Session) -> DestroyPlan:
    """Reads the project's record and what it holds, and plans the deletes. Raises ApiError."""
    first: dict[str, Any] = run(
        gather(
            {
                "dialect": detect(session.settings.is_cloud),
                "record": read_last_applied(project),
                "others": read_other_records(project),
            }
        ),
        session,
    )
    record: LastApplied = first["record"]
    others: Mapping[str, LastApplied] = first["others"]
    current = run(read_current(record.outlines(), first["dialect"]), session)
    held = sorted(_held(record, current), key=lambda each: (each.kind, each.key))
    changes, kept = deletable(held, others, session)
    plan = Plan(with_run_notes(changes, session))
    return DestroyPlan(project, plan, kept, record, first["dialect"], tuple(others))


def deletable(
    resources: Sequence[Resource], others: Mapping[str, LastApplied], session: Session
) -> tuple[tuple[Change, ...], dict[tuple[str, Key], str]]:
    """The changes that delete these resources; and kind and key of what has to stay → why.

    What other projects declare stays, and what deployments use that are not deleted. Raises
    ApiError.
    """
    kept = {
        identity: f"the project '{name}' declares it"
        for name, other in sorted(others.items())
        for identity in {(each.kind, each.key) for each in resources} & other.everything
    }
    kept |= {
        (each.kind, each.key): "its deployments and runs would be deleted with it"
        for each in resources
        if each.kind == "flow"
    }
    # A pool that stays keeps its queues only if they are in use, too: look until nothing is new.
    while True:
        changes = deletes([each for each in resources if not _stays(each, kept)])
        places: dict[str, Key] = {
            each.current.id: () for each in changes if each.kind == "deployment" and each.current
        }
        users = run(users_after(changes, places), session)
        used = {
            (each.kind, each.key): f"the deployments {shortened(sorted(names), _SHOWN)} are in it"
            for each in changes
            if (names := users.get(each.title))
        }
        if not used:
            return changes, kept
        kept |= used


def report_destroy(planned: DestroyPlan, report: Report) -> None:
    """Reports what stays (DC545), and that there is nothing to destroy (DC546)."""
    for (kind, key), reason in sorted(planned.kept.items()):
        report.add("DC545", f"{kind_name(kind)} '{'/'.join(key)}' stays: {reason}")
    if not planned.record.everything:
        report.add(
            "DC546",
            f"the project '{planned.project}' has applied nothing on this server",
            help=did_you_mean(planned.project, planned.others)
            or "It was destroyed already, or has another name or server.",
        )


def destroy(
    planned: DestroyPlan,
    session: Session,
    report: Report,
    progress: Progress,
    on_done: Callable[[Result], None],
) -> list[Result]:
    """Deletes what is planned, then the record; returns one result per root.

    Holds the project's lock. Raises LockLost if another deploy has added to the project since it
    was planned, ApiError, and Interrupted; what was not done then is done by the same command.
    """
    results: list[Result] = []
    is_complete = False
    with ProjectLock(
        planned.project, session, report, progress, LOCK_TIMINGS, lambda: is_complete
    ) as lock:
        again = plan_destroy(planned.project, session)
        if new := deleted_keys(again.plan.changes) - deleted_keys(planned.plan.changes):
            names = shortened(sorted("/".join(key) for _, key in new), _SHOWN)
            raise LockLost(
                f"a deploy of the project '{planned.project}' has added to it: {names}",
                help="Nothing was deleted. Run the same command again to see what it deletes now.",
            )
        if again.plan.changes:
            results = apply(
                again.plan,
                again.project,
                again.record,
                again.dialect,
                session,
                report,
                with_progress(again.plan, progress, on_done),
                lock.check,
            )
        if all(each.is_written for each in results) and not report.blocking:
            lock.check()
            run(delete_history(again.project), session)
            run(delete_record(again.project), session)
            is_complete = True
    return results


def _held(record: LastApplied, current: Iterable[Resource]) -> Iterable[Resource]:
    """The recorded resources that the server has, parts of others included."""
    recorded = record.everything
    for root in current:
        for each in (root, *root.children):
            if (each.kind, each.key) in recorded and each.kind != "schedule":
                yield each


def _stays(resource: Resource, kept: Mapping[tuple[str, Key], str]) -> bool:
    """Whether a resource is kept, or goes with one that is."""
    identity = (resource.kind, resource.key)
    goes_with_root = not RESOURCE_KINDS[resource.kind].stays
    return identity in kept or (goes_with_root and root_of(*identity) in kept)
