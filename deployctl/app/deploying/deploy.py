"""Builds and applies a prepared plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import methodcaller

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.build_steps import (
    deploy_step_context,
    run_build_steps,
    without_secret_outputs,
)
from deployctl.app.deploying.history import record_revision
from deployctl.app.deploying.images_file import BuildOutputs
from deployctl.app.deploying.prepare import make_plan, prepare, refresh, with_taken_over
from deployctl.app.deploying.prepared_plan import PreparedPlan
from deployctl.core.diagnostics import Report
from deployctl.core.errors import Interrupted
from deployctl.core.progress import Progress
from deployctl.deploy.apply import apply
from deployctl.deploy.last_applied import update_last_applied
from deployctl.deploy.model import Plan, Result, ResultStatus
from deployctl.steps.engine import CompletedSteps

DEPLOYING = "deploying"
"""The phase in which the server is written."""
_NOT_DELETED = "nothing is deleted, because not everything else was written"


def build(
    prepared: PreparedPlan,
    session: Session,
    report: Report,
    progress: Progress,
    completed: CompletedSteps,
) -> PreparedPlan:
    """Runs the build and push steps, and plans again with their outputs.

    `completed` are the steps that ran for other files of the command; they don't run again, and
    those that run now are added. Raises StepFailed or Interrupted before anything is written to the
    server.
    """
    if not prepared.steps:
        return prepared
    progress.phase("building")
    inputs, build_plan = prepared.inputs, prepared.build_plan
    context = deploy_step_context(prepared.loaded, inputs, build_plan, session, progress)
    try:
        loaded, outputs = run_build_steps(
            prepared.loaded, context, lambda: session, completed, report
        )
    except Interrupted as stopped:
        message = "stopped; nothing was written to the server"
        raise session.cancellation.interrupted(message) from stopped
    prepared = replace(prepared, loaded=without_secret_outputs(loaded, outputs, report))
    found = Report()
    if prepared.loaded.is_named_by_steps:
        built = BuildOutputs(outputs, build_plan.pins)
        prepared = prepare(
            prepared.loaded,
            session,
            found,
            inputs.environ,
            inputs.folder,
            replace(build_plan, outputs=built),
            create_pools=prepared.create_pools,
            before=prepared.before,
        )
    else:
        prepared = replace(prepared, inputs=replace(inputs, outputs=outputs, pins=build_plan.pins))
        prepared = make_plan(refresh(prepared, session), session, found)
    new = Report([item for item in found if item not in report.items])
    report.extend(new)
    if not found.blocking:
        report.aside += new.errors
    report.warnings_aside += min(new.warnings, found.warnings_aside)
    return prepared


def deploy_all(
    locked: Iterable[tuple[PreparedPlan, Callable[[], None]]],
    session: Session,
    report: Report,
    progress: Progress,
    on_done: Callable[[Result], None],
) -> list[Result]:
    """Applies the plans of a command, each with what to call before a write; returns the results.

    Deletes come last, and only if everything else was written: what replaces a deployment may be
    missing otherwise. `deploy.apply.apply` says what is raised and what becomes a result.
    """
    plans = [*locked]
    done: list[tuple[PreparedPlan, list[Result]]] = []
    try:
        for each, check_lock in plans:
            first = replace(each, plan=each.plan.without_deletes())
            done.append((each, deploy(first, session, report, progress, on_done, check_lock)))
        is_written = not report.blocking and all(
            result.is_written for _, results in done for result in results
        )
        for each, check_lock in plans:
            rest = replace(each, plan=each.plan.only_deletes(), taken_over={})
            if is_written and (rest.plan.changes or rest.plan.forgotten):
                done.append((each, deploy(rest, session, report, progress, on_done, check_lock)))
            elif not is_written:
                skipped = [
                    Result(change, ResultStatus.SKIPPED, reason=_NOT_DELETED)
                    for change in rest.plan.changes
                ]
                done.append((each, skipped))
                for result in skipped:
                    on_done(result)
    finally:
        _record(done, session, report)
    return [result for _, results in done for result in results]


def _record(
    done: Sequence[tuple[PreparedPlan, Sequence[Result]]], session: Session, report: Report
) -> None:
    """Adds a revision to each project, of all its files."""
    for project in dict.fromkeys(each.loaded.project for each, _ in done):
        own = [(each, results) for each, results in done if each.loaded.project == project]
        inputs = own[0][0].inputs
        commit = inputs.checkout.sha if inputs.checkout else ""
        written = [result for _, results in own for result in results]
        record_revision(project, "deploy", commit, written, session, report, inputs.environ)


def deploy(
    prepared: PreparedPlan,
    session: Session,
    report: Report,
    progress: Progress,
    on_done: Callable[[Result], None],
    check_lock: Callable[[], None],
) -> list[Result]:
    """Applies a plan; `deploy.apply.apply` says what is raised and what becomes a result.

    First, what other projects give up is recorded here, then removed from their records.
    """
    if prepared.taken_over:
        project, taken = prepared.loaded.project, prepared.taken_over
        run(update_last_applied(project, partial(with_taken_over, taken=taken)), session)
        for other, record in taken.items():
            run(update_last_applied(other, methodcaller("without", record.everything)), session)
    return apply(
        prepared.plan,
        prepared.loaded.project,
        prepared.last_applied,
        prepared.dialect,
        session,
        report,
        with_progress(prepared.plan, progress, on_done),
        check_lock,
    )


def with_progress(
    plan: Plan, progress: Progress, on_done: Callable[[Result], None]
) -> Callable[[Result], None]:
    """Begins the phase in which a plan is applied; returns what to call with each result."""
    if plan.needed:
        progress.phase(DEPLOYING, len(plan.needed))

    def advance(result: Result) -> None:
        """Advances the progress display, then reports the result."""
        progress.advance(result.change.name)
        on_done(result)

    return advance
