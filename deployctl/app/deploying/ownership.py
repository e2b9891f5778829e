"""Keeps two projects from writing the same deployment or variable in turns.

The record of a project has what it applied last. A resource that is on the server, but not in this
project's record, may be that of another project: the other records are read only then. Work pools
are often shared, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.prepare import take_over
from deployctl.app.deploying.prepared_plan import PreparedPlan, is_whole
from deployctl.core.diagnostics import Report, Severity
from deployctl.deploy.last_applied import LastApplied, read_other_records
from deployctl.deploy.model import Key, kind_name


def check_ownership(
    prepared: Sequence[PreparedPlan], session: Session, report: Report, *, allowed: bool
) -> list[PreparedPlan]:
    """The plans with what moves to their projects from others.

    A resource that another project declares is reported as DC519, unless it is `allowed` to move
    it, or all of that project is part of the command, so that it declares it no longer. It is a
    warning if this project is named after its folder: the other one may be the same under another
    name. Raises ApiError.
    """
    partial = {each.loaded.project for each in prepared if not is_whole(each)}
    projects = {each.loaded.project for each in prepared} - partial
    checked = []
    for each in prepared:
        taken: dict[str, LastApplied] = {}
        unknown = set(_not_recorded(each))
        records = run(read_other_records(each.loaded.project), session) if unknown else {}
        for project, record in sorted(records.items()):
            theirs = unknown.intersection(record.roots())
            if theirs and (allowed or project in projects):
                taken[project] = record.only(theirs)
            else:
                for identity in sorted(theirs):
                    _report(each, identity, project, report)
        checked.append(take_over(each, taken, session) if taken else each)
    return checked


def _not_recorded(prepared: PreparedPlan) -> Iterator[tuple[str, Key]]:
    """The declared roots that the server has and this project's record doesn't.

    But for pools and flows, which several projects may share.
    """
    recorded = set(prepared.last_applied.roots())
    for change in prepared.plan.changes:
        identity = (change.kind, change.key)
        is_shared = change.kind in ("work_pool", "flow")
        if not is_shared and change.current and identity not in recorded:
            yield identity


def _report(
    prepared: PreparedPlan, identity: tuple[str, Key], project: str, report: Report
) -> None:
    kind, key = identity
    loaded = prepared.loaded
    spans = {("deployment", each.key): each.spec.span(("name",)) for each in loaded.selected}
    for each in loaded.declared:
        spans[each.kind, each.key] = loaded.document.spans.value((*each.path, "name"))
    report.add(
        "DC519",
        f"the {kind_name(kind)} '{'/'.join(key)}' belongs to the project '{project}'",
        spans.get(identity),
        help="Rename one of them. If it has moved here, add --take-over; the other project then "
        "has to drop it from its file.",
        severity=None if loaded.is_named else Severity.WARNING,
    )
