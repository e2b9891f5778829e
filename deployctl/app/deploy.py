"""Makes a project true: plan, build, apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.prepare import Prepared, planned, read_again
from deployctl.core.diagnostics import Report
from deployctl.core.progress import Progress
from deployctl.deploy.apply import apply
from deployctl.deploy.model import Result
from deployctl.flows.imported import project_python
from deployctl.steps.engine import Outputs, run_steps
from deployctl.steps.place import Workplace
from deployctl.templating.references import read_references, references
from deployctl.templating.render import Scope


def build(
    prepared: Prepared,
    session: Session,
    report: Report,
    progress: Progress,
    done: dict[str, Outputs],
) -> Prepared:
    """Runs the build and push steps and plans again with what they gave.

    `done`: the steps that ran for other files of the command, which do not run again; those that
    run now are added. Raises StepFailed or Interrupted, before anything is written to the server.
    """
    steps = prepared.steps
    if not steps:
        return prepared
    progress.phase("building")
    named = [ref for each in steps.values() for step in each for _, ref in references(step.inputs)]
    library = run(read_references(named, secrets=True), session)
    known = prepared.known
    python = project_python(
        FilePath(prepared.loaded.document.file).absolute().parent, known.environ
    )
    place = Workplace(known.folder, known.environ, python, progress.output, session.stop)
    scope = Scope(known.environ, references=library)
    outputs = run_steps(steps, scope, place, done)
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
