"""Makes a project true: plan, build, apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.prepare import Prepared, planned, read_again
from deployctl.core.diagnostics import Report
from deployctl.core.progress import Progress
from deployctl.deploy.apply import apply
from deployctl.deploy.model import Result
from deployctl.steps.engine import run_steps
from deployctl.steps.shell import Workplace
from deployctl.templating.references import read_references, references
from deployctl.templating.render import Scope


def build(prepared: Prepared, session: Session, report: Report, progress: Progress) -> Prepared:
    """Runs the build and push steps and plans again with what they gave.

    Raises StepFailed; nothing has been written to the server then.
    """
    steps = prepared.steps
    if not steps:
        return prepared
    progress.phase("building")
    named = [ref for each in steps.values() for step in each for _, ref in references(step.inputs)]
    library = run(read_references(named, secrets=True), session)
    known = prepared.known
    place = Workplace(known.folder, known.environ, "python3", progress.output)
    outputs = run_steps(steps, Scope(known.environ, references=library), place)
    known = replace(known, outputs=outputs)
    again = read_again(replace(prepared, known=known), session)
    return planned(again, session, report)


def deploy(
    prepared: Prepared,
    session: Session,
    report: Report,
    progress: Progress,
    on_done: Callable[[Result], None],
) -> list[Result]:
    """Carries the plan out; see `apply` for what is raised and what becomes a result."""
    needed = len(prepared.plan.needed)
    if needed:
        progress.phase("deploying", needed)

    def note(result: Result) -> None:
        progress.advance(result.change.name)
        on_done(result)

    return apply(
        prepared.plan,
        prepared.loaded.project,
        prepared.record,
        prepared.dialect,
        session,
        report,
        note,
    )
