"""Carries a plan out, so that it can be stopped anywhere and done again.

The order is: put on record what is about to be declared; write the roots, rank by rank, each with
its children, side by side and each on its own; read back what was written, once; put on record
what is declared now. A test that stops the requests anywhere shows that the same command
afterwards converges.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from deployctl.api.calls import ApiCall, gather
from deployctl.api.dialect import Dialect
from deployctl.api.driver import CallResult, run, run_all
from deployctl.api.session import Session
from deployctl.core.diagnostics import Report
from deployctl.core.errors import (
    DeployctlError,
    Interrupted,
    LostResponse,
    ServerError,
    Unreachable,
)
from deployctl.deploy.last_applied import LastApplied, read_last_applied, write_last_applied
from deployctl.deploy.model import Change, Key, Op, Plan, Resource, Result, ResultStatus
from deployctl.deploy.plan import compare
from deployctl.deploy.resources import RESOURCE_KINDS

_RECORD_RACES = 20
"""How often a record is written again because somebody else wrote it at the same time."""


def apply(
    plan: Plan,
    project: str,
    record: LastApplied,
    dialect: Dialect,
    session: Session,
    report: Report,
    on_done: Callable[[Result], None] = lambda _result: None,
) -> list[Result]:
    """Writes what the plan says, keeps the project's record, and says what became of each root.

    One root's failure stops nothing but what needs it. A stop that was asked for finishes the
    writes under way and skips the others. Raises ApiError where the first record cannot be
    written, and then nothing was; later trouble of that sort is reported (DC520).
    """
    wanted = [change.desired for change in plan.changes if change.desired is not None]
    claims = record.add(wanted) != record
    if claims:
        record = run(_update(project, lambda latest: latest.add(wanted)), session)
    results: list[Result] = []
    for _, rank in groupby(plan.changes, key=lambda change: RESOURCE_KINDS[change.kind].rank):
        results += _write(list(rank), results, dialect, session, on_done)
    try:
        results = run(verify(results, dialect), session)
        settled = [
            result.change.desired
            for result in results
            if result.change.desired
            and result.status in (ResultStatus.APPLIED, ResultStatus.UNCHANGED)
        ]
        if claims or record.replace(settled) != record:
            run(_update(project, lambda latest: latest.replace(settled)), session)
    except Interrupted:
        return results
    except DeployctlError as error:
        report.error(
            "DC520",
            f"what was written could not be read back and put on record: {error.message}",
            help="run the same command again when the server answers",
        )
    return results


def read_current(wanted: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
    """The live objects that answer to wanted roots, all kinds side by side."""
    found = yield from gather(
        {
            kind: RESOURCE_KINDS[kind].read([item for item in wanted if item.kind == kind], dialect)
            for kind in sorted({item.kind for item in wanted})
        }
    )
    return [item for items in found.values() for item in items]


def verify(results: Sequence[Result], dialect: Dialect) -> ApiCall[list[Result]]:
    """Reads back what was written, or may have been although the server answered with an error.

    What is not as it was written, somebody else wrote too; what is as wanted is no failure.
    """
    written = [
        result.change.desired
        for result in results
        if result.change.desired and _may_be_there(result)
    ]
    live = yield from read_current(written, dialect)
    there = {(item.kind, item.key): item for item in live}
    return [_checked(result, there, dialect) for result in results]


def _write(
    changes: Sequence[Change],
    before: Sequence[Result],
    dialect: Dialect,
    session: Session,
    on_done: Callable[[Result], None],
) -> list[Result]:
    """Writes the roots of one rank side by side; `before`: the results of the ranks below."""
    missing = {
        result.change.key[0]
        for result in before
        if result.change.op is Op.CREATE and not result.done
    }
    by_key = {change.key: change for change in changes}
    done: dict[Key, list[str]] = {change.key: [] for change in changes}
    results: dict[Key, Result] = {}

    def note(key: Key, outcome: CallResult[None]) -> None:
        results[key] = _result(by_key[key], outcome, done[key])
        on_done(results[key])

    for change in changes:
        pool = change.desired.fields.get("work_pool_name") if change.desired else None
        if not change.is_needed:
            results[change.key] = Result(change, ResultStatus.UNCHANGED)
        elif pool in missing:
            reason = f"the work pool {pool} was not created"
            results[change.key] = Result(change, ResultStatus.SKIPPED, reason=reason)
            on_done(results[change.key])
    talks = {
        change.key: _unit(change, dialect, done[change.key])
        for change in changes
        if change.key not in results
    }
    run_all(talks, session, note)
    return [results[change.key] for change in changes]


def _unit(change: Change, dialect: Dialect, done: list[str]) -> ApiCall[None]:
    """Writes a root, then the children that did not travel in its body; notes each in `done`."""
    kind = RESOURCE_KINDS[change.kind]
    identity = change.current.id if change.current else ""
    if change.op is not Op.NONE:
        identity = yield from kind.write(change, "", dialect)
        done.append(_sentence(change))
    inline = kind.inline(change, dialect)
    for child in change.children:
        if child.op is not Op.NONE:
            if child.kind not in inline:
                yield from RESOURCE_KINDS[child.kind].write(child, identity, dialect)
            done.append(_sentence(child))


def _sentence(change: Change) -> str:
    """`schedule cron 0 7 * * * created`."""
    past = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted"}
    return f"{change.kind.replace('_', ' ')} {change.key[-1]} {past[change.op]}"


def _result(change: Change, outcome: CallResult[None], done: Sequence[str]) -> Result:
    if not outcome.started or (isinstance(outcome.error, Interrupted) and not done):
        return Result(change, ResultStatus.SKIPPED, reason="stopped before it was begun")
    status = ResultStatus.APPLIED if outcome.ok else ResultStatus.FAILED
    return Result(change, status, outcome.error, done=tuple(done))


def _checked(result: Result, there: Mapping[tuple[str, Key], Resource], dialect: Dialect) -> Result:
    want = result.change.desired
    if want is None or not _may_be_there(result):
        return result
    again = compare(want, there.get((want.kind, want.key)), lambda *_: frozenset(), dialect)
    if not again.is_needed:
        return replace(result, status=ResultStatus.APPLIED, error=None)
    if result.status is ResultStatus.FAILED:
        return result
    changed = [part.field for part in again.fields] if again.current else ["it is gone"]
    changed += [f"{child.kind} {child.key[-1]}" for child in again.children if child.is_needed]
    error = DeployctlError(
        f"was written and is different already: {', '.join(changed)}",
        help="somebody else changed it at the same time; run the same command again",
    )
    return Result(result.change, ResultStatus.FAILED, error, done=result.done)


def _may_be_there(result: Result) -> bool:
    lost = isinstance(result.error, ServerError | LostResponse | Unreachable)
    return result.status is ResultStatus.APPLIED or lost


def _update(project: str, change: Callable[[LastApplied], LastApplied]) -> ApiCall[LastApplied]:
    """Changes the record until the latest one on the server has the change.

    Whoever writes at the same time does the same, at the beginning and at the end of an apply, so
    that nobody's part is lost.
    """
    for _ in range(_RECORD_RACES):
        latest = yield from read_last_applied(project)
        record = change(latest)
        if record == latest:
            break
        yield from write_last_applied(project, record)
    return record
