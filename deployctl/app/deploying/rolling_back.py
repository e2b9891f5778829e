"""Rolls a project back: plans what brings its resources back, and applies that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployctl.api.calls import gather
from deployctl.api.dialect import Dialect, detect, fetch_refined
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.deploy import DEPLOYING
from deployctl.app.deploying.destroying import deletable
from deployctl.app.deploying.history import record_revision
from deployctl.app.deploying.project_lock import LOCK_TIMINGS, ProjectLock
from deployctl.app.deploying.pruning import with_run_notes
from deployctl.core.diagnostics import Report
from deployctl.core.errors import DeployctlError
from deployctl.core.progress import Progress
from deployctl.core.suggest import shortened
from deployctl.deploy.apply import apply, read_current
from deployctl.deploy.history import Revision, read_revisions
from deployctl.deploy.last_applied import (
    LastApplied,
    read_last_applied,
    read_other_records,
    root_of,
)
from deployctl.deploy.lock import LockLost
from deployctl.deploy.model import Key, Plan, Resource, Result
from deployctl.deploy.plan import parts_of, plan
from deployctl.deploy.rollback import earlier

_SHOWN = 3


class UnknownRevision(DeployctlError):
    """The project has no such revision, or none at all."""

    code = "DC563"


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback changes."""

    project: str
    undone: tuple[Revision, ...]
    """The revisions that are undone, newest first."""
    plan: Plan
    lost: tuple[str, ...]
    """What cannot go back, as sentences."""
    dialect: Dialect


def find_revision(project: str, revisions: Sequence[Revision], start: str) -> int:
    """The position of the revision whose id starts with `start`. Raises UnknownRevision."""
    found = [at for at, each in enumerate(revisions) if start and each.id.startswith(start.lower())]
    if len(found) == 1:
        return found[0]
    problem = "is ambiguous" if found else "is not in the history"
    raise UnknownRevision(
        f"the revision '{start}' {problem} of the project '{project}'",
        help="`deployctl history` lists the revisions that are kept.",
    )


def plan_rollback(project: str, revision: str | None, session: Session) -> RollbackPlan:
    """Plans to bring back the state after a revision; None: the state before the newest one.

    Raises UnknownRevision and ApiError.
    """
    first: dict[str, Any] = run(
        gather(
            {
                "dialect": detect(session.settings.is_cloud),
                "record": read_last_applied(project),
                "revisions": read_revisions(project),
            }
        ),
        session,
    )
    revisions: list[Revision] = first["revisions"]
    if not revisions:
        raise UnknownRevision(
            f"the project '{project}' has no history on this server",
            help="Every deploy that changes something adds to it, from this version on.",
        )
    undone = revisions[: find_revision(project, revisions, revision) if revision else 1]
    record, dialect = first["record"], run(fetch_refined(first["dialect"]), session)
    current = run(read_current(_outlines(undone, record), dialect), session)
    found = earlier(undone, current, record, dialect)
    changed = plan(found.desired, current, record.declared, dialect).changes
    others = run(read_other_records(project), session) if found.deleted else {}
    removed, kept = deletable(found.deleted, others, session)
    lost = [*found.lost, *(f"{_title(*each)} stays: {why}" for each, why in sorted(kept.items()))]
    if any(not each.has_values for each in undone):
        lost.append("updates of a revision that was too large to be recorded with its values")
    needed = tuple(each for each in changed if each.is_needed)
    plan_ = Plan((*needed, *with_run_notes(removed, session)))
    return RollbackPlan(project, tuple(undone), plan_, tuple(lost), dialect)


def _title(kind: str, key: Key) -> str:
    return f"{kind.replace('_', ' ')} {'/'.join(key)}"


def _outlines(undone: Iterable[Revision], record: LastApplied) -> list[Resource]:
    """The roots that the revisions changed, with all parts that they and the record know."""
    recorded = record.parts()
    found: dict[tuple[str, Key], dict[tuple[str, Key], Resource]] = {}
    for change in (change for each in undone for change in each.changes):
        known = found.setdefault(root_of(change.kind, change.key), {})
        known |= {
            (kind, key): Resource(kind, key, {})
            for kind, entries in change.parts.items()
            for key, _ in entries
        }
    for root, known in found.items():
        known |= {(each.kind, each.key): each for each in recorded.get(root, ())}
    return [Resource(*root, {}, tuple(known.values())) for root, known in found.items()]


def report_rollback(planned: RollbackPlan, report: Report) -> None:
    """Reports what cannot go back (DC564)."""
    for each in planned.lost:
        report.add("DC564", each)


def roll_back(
    planned: RollbackPlan,
    revision: str | None,
    session: Session,
    report: Report,
    progress: Progress,
    on_done: Callable[[Result], None],
    environ: Mapping[str, str],
) -> list[Result]:
    """Applies the plan under the project's lock; returns one result per root.

    Deletes come last, and only if everything else was written. Raises LockLost if the project has
    changed since it was planned, ApiError, and Interrupted; nothing was written then.
    """
    results: list[Result] = []

    def is_complete() -> bool:
        """Whether everything was written."""
        return len(results) == len(planned.plan.changes) and all(
            each.is_written for each in results
        )

    project = planned.project
    with ProjectLock(project, session, report, progress, LOCK_TIMINGS, is_complete) as lock:
        again = plan_rollback(project, revision, session)
        if again.undone != planned.undone or parts_of(again.plan) != parts_of(planned.plan):
            names = shortened(sorted(each.title for each in again.plan.changes), _SHOWN)
            raise LockLost(
                f"the project '{project}' has changed since this rollback was planned: {names}",
                help="Nothing was written. Run the same command again to see what it would do.",
            )
        progress.phase(DEPLOYING, len(again.plan.changes))

        def advance(result: Result) -> None:
            """Advances the progress display, then reports the result."""
            progress.advance(result.change.name)
            on_done(result)

        for part in (again.plan.without_deletes(), again.plan.only_deletes()):
            if part.changes and all(each.is_written for each in results):
                record = run(read_last_applied(project), session)
                results += apply(
                    part, project, record, again.dialect, session, report, advance, lock.check
                )
        record_revision(project, "rollback", "", results, session, report, environ)
    return results
