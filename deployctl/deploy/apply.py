"""Applies a plan so that it can be stopped at any request and completed by the next run.

Order: record what is about to be declared (`LastApplied.add`); write the roots, rank by rank, those
of one rank in parallel, each followed by its children; read back once what was written; record what
is declared now (`LastApplied.replace`) and forget what was deleted. The deletes of a prune are a
plan of their own, applied after all others of the command.

`tests/integration/test_crash_points.py` stops before and after every request and checks that the
same command then converges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from deployctl.api.calls import ApiCall, gather
from deployctl.api.dialect import Dialect
from deployctl.api.driver import CallResult, run, run_all
from deployctl.api.session import Session
from deployctl.core.diagnostics import Report
from deployctl.core.errors import (
    ApiError,
    DeployctlError,
    Interrupted,
    LostResponse,
    ServerError,
    Unreachable,
)
from deployctl.deploy.last_applied import LastApplied, remove_old_versions, update_last_applied
from deployctl.deploy.lock import LockLost
from deployctl.deploy.model import Change, Key, Op, Plan, Resource, Result, ResultStatus, kind_name
from deployctl.deploy.plan import compare
from deployctl.deploy.prune import deleted_keys
from deployctl.deploy.resources import RESOURCE_KINDS

_NO_ANSWER = "the server does not answer"
_UNCERTAIN = "the server does not answer; it may have been written"
_VERIFY_TRIES = 3
"""How often what differs is read back: another command may be between two of its requests."""


def apply(
    plan: Plan,
    project: str,
    last_applied: LastApplied,
    dialect: Dialect,
    session: Session,
    report: Report,
    on_done: Callable[[Result], None] = lambda _result: None,
    check_lock: Callable[[], None] = lambda: None,
) -> list[Result]:
    """Writes the changes of a plan and the project's record; returns one result per root.

    A failure of one root stops only the roots that depend on it. An interrupt, or a LockLost from
    `check_lock`, completes the writes in flight and skips the rest. Raises ApiError if the first
    record can't be written, in which case nothing was written; later failures to read back or
    record are reported as DC520.
    """
    desired = [change.desired for change in plan.changes if change.desired is not None]
    declares_more = last_applied.add(desired) != last_applied
    if declares_more:
        last_applied = run(
            update_last_applied(project, lambda latest: latest.add(desired)), session
        )
    results: list[Result] = []
    for _, rank in groupby(plan.changes, key=lambda change: RESOURCE_KINDS[change.kind].rank):
        results += _write_rank(list(rank), results, dialect, session, on_done, check_lock)
    if lost := next((each.error for each in results if isinstance(each.error, LockLost)), None):
        report.add(lost.code, lost.message, help=lost.help)
        return results
    if session.is_down:
        # Reading back would only fail in the same way.
        _report_outage(results, report)
        return results
    try:
        results = run(verify(results, dialect), session)
        applied = [
            result.change.desired
            for result in results
            if result.change.desired and result.is_written
        ]
        deleted = deleted_keys(each.change for each in results if each.is_written)

        def current(latest: LastApplied) -> LastApplied:
            """The record after this apply."""
            return latest.replace(applied).without(deleted | plan.forgotten)

        if declares_more or current(last_applied) != last_applied:
            run(update_last_applied(project, current), session)
            run(remove_old_versions(project), session)
    except Interrupted:
        report.add(
            "DC520",
            "stopped before what was written was read back and recorded",
            help="Run the same command again to confirm it.",
        )
    except DeployctlError as error:
        report.add(
            "DC520",
            f"cannot read back and record what was written: {error.message}",
            help="Run the same command again when the server answers.",
        )
    return results


def _report_outage(results: Sequence[Result], report: Report) -> None:
    error = next((each.error for each in results if isinstance(each.error, ApiError)), None)
    report.add(
        "DC520",
        f"the server stopped answering: {error.message if error else 'it is gone'}",
        help="Run the same command again when the server answers. It writes what is missing.",
    )


def read_current(desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
    """The current resources with the keys of desired roots; all kinds are read in parallel."""
    found = yield from gather(
        {
            kind: RESOURCE_KINDS[kind].read(
                [root for root in desired if root.kind == kind], dialect
            )
            for kind in sorted({root.kind for root in desired})
        }
    )
    return [resource for resources in found.values() for resource in resources]


def verify(results: Sequence[Result], dialect: Dialect) -> ApiCall[list[Result]]:
    """Reads back what was written, or may have been although the server answered with an error.

    A root that differs lost a race with another writer and fails; a failed root that is as desired
    was applied.
    """
    for _ in range(_VERIFY_TRIES):
        remaining = yield from _remaining_changes(results, dialect)
        verified = list(map(_verified, results, remaining))
        if not any(map(_differs, verified, results)):
            break
        yield from _remove_twins(remaining, dialect)
    return verified


def _differs(verified: Result, result: Result) -> bool:
    return verified.status is ResultStatus.FAILED and result.status is ResultStatus.APPLIED


def _remaining_changes(results: Sequence[Result], dialect: Dialect) -> ApiCall[list[Change | None]]:
    """What is still to be changed of each root; None if it was not written."""
    written = [result.change.desired if _may_be_written(result) else None for result in results]
    current = yield from read_current([root for root in written if root], dialect)
    existing = {(root.kind, root.key): root for root in current}
    return [
        compare(root, existing.get((root.kind, root.key)), lambda *_: frozenset(), dialect)
        if root
        else None
        for root in written
    ]


def _remove_twins(remaining: Sequence[Change | None], dialect: Dialect) -> ApiCall[None]:
    """Deletes the younger ones of equal children that two commands created at the same time.

    Both commands do so and keep the same one, so neither waits for the other.
    """
    for change in filter(None, remaining):
        desired = {child.key for child in change.children if child.desired}
        for child in change.children:
            if child.op is Op.DELETE and child.key in desired:
                yield from RESOURCE_KINDS[child.kind].write(child, "", dialect)


def _write_rank(
    changes: Sequence[Change],
    earlier: Sequence[Result],
    dialect: Dialect,
    session: Session,
    on_done: Callable[[Result], None],
    check_lock: Callable[[], None],
) -> list[Result]:
    """Writes the roots of one rank in parallel; `earlier` are the results of lower ranks."""
    missing = {
        result.change.key[0]
        for result in earlier
        if result.change.kind == "work_pool" and result.change.op is Op.CREATE and not result.done
    }
    by_key = {change.key: change for change in changes}
    done: dict[Key, list[str]] = {change.key: [] for change in changes}
    results: dict[Key, Result] = {}

    def finish(key: Key, outcome: CallResult[None]) -> None:
        """Turns the outcome of a call into the result of its root."""
        results[key] = _result(by_key[key], outcome, done[key], is_down=session.is_down)
        on_done(results[key])

    for change in changes:
        pool = change.desired.fields.get("work_pool_name") if change.desired else None
        if not change.is_needed:
            results[change.key] = Result(change, ResultStatus.UNCHANGED)
        elif pool in missing:
            reason = f"the work pool '{pool}' was not created"
            results[change.key] = Result(change, ResultStatus.SKIPPED, reason=reason)
            on_done(results[change.key])
    calls = {
        change.key: _write(change, dialect, done[change.key], check_lock)
        for change in changes
        if change.key not in results
    }
    run_all(calls, session, finish)
    return [results[change.key] for change in changes]


def _write(
    change: Change, dialect: Dialect, done: list[str], check_lock: Callable[[], None]
) -> ApiCall[None]:
    """Writes a root, then the children that were not part of its body; appends each to `done`.

    What is deleted with a root is deleted before it, so that a stop between the two loses nothing.
    """
    check_lock()
    kind = RESOURCE_KINDS[change.kind]
    identity = change.current.id if change.current else ""
    if change.op is Op.DELETE:
        for each in (*change.children, change):
            check_lock()
            yield from RESOURCE_KINDS[each.kind].write(each, identity, dialect)
            done.append(_sentence(each))
        return
    if change.op is not Op.NONE:
        identity = yield from kind.write(change, "", dialect)
        done.append(_sentence(change))
    inline = kind.inline(change, dialect)
    for child in change.children:
        if child.op is not Op.NONE:
            if child.kind not in inline:
                check_lock()
                yield from RESOURCE_KINDS[child.kind].write(child, identity, dialect)
            done.append(_sentence(child))


def _sentence(change: Change) -> str:
    """`schedule cron 0 7 * * * created`."""
    past = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted"}
    return f"{kind_name(change.kind)} {change.key[-1]} {past[change.op]}"


def _result(
    change: Change, outcome: CallResult[None], done: Sequence[str], *, is_down: bool
) -> Result:
    if not outcome.started and is_down:
        return Result(change, ResultStatus.SKIPPED, reason=_NO_ANSWER)
    if not outcome.started or (isinstance(outcome.error, Interrupted) and not done):
        return Result(change, ResultStatus.SKIPPED, reason="stopped before it was started")
    if isinstance(outcome.error, LockLost) and not done:
        reason = "not started, because another deploy took over"
        return Result(change, ResultStatus.SKIPPED, outcome.error, reason)
    if isinstance(outcome.error, Unreachable) and not done:
        reason = _UNCERTAIN if outcome.error.was_sent else _NO_ANSWER
        return Result(change, ResultStatus.SKIPPED, outcome.error, reason)
    status = ResultStatus.APPLIED if outcome.ok else ResultStatus.FAILED
    return Result(change, status, outcome.error, done=tuple(done))


def _verified(result: Result, again: Change | None) -> Result:
    """The result after its root was read back; `again` is what is still to be changed."""
    if again is None:
        return result
    if not again.is_needed:
        return replace(result, status=ResultStatus.APPLIED, error=None)
    if result.status is ResultStatus.FAILED:
        return result
    changed = [part.field for part in again.fields] if again.current else ["it was deleted"]
    changed += [f"{child.kind} {child.key[-1]}" for child in again.children if child.is_needed]
    error = DeployctlError(
        f"changed on the server right after we wrote it: {', '.join(changed)}",
        help="Another client writes it, too. Run the same command again.",
    )
    return Result(result.change, ResultStatus.FAILED, error, done=result.done)


def _may_be_written(result: Result) -> bool:
    """Whether the server may have the root as desired: applied, or without a clear answer."""
    unclear = isinstance(result.error, ServerError | LostResponse | Unreachable)
    return result.status is ResultStatus.APPLIED or unclear
