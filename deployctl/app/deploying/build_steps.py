"""What a command does about build and push steps: run them, say before what they will give, take
what they gave elsewhere, or leave them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.desired_state import PlanInputs
from deployctl.app.deploying.images_file import BuildOutputs, check_build_outputs
from deployctl.app.deploying.load import LoadedProject
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Report
from deployctl.core.errors import StepFailed
from deployctl.core.json_values import Json
from deployctl.core.progress import NullProgress, Progress
from deployctl.flows.importer import project_python
from deployctl.images.pipeline import ImageProvider
from deployctl.steps.catalog import is_docker_step
from deployctl.steps.context import StepContext
from deployctl.steps.engine import CREDENTIALS_INPUT, CompletedSteps, Outputs, plan_steps, run_steps
from deployctl.steps.model import Step
from deployctl.templating.problems import report_problems
from deployctl.templating.references import ReferenceValues, read_references, references
from deployctl.templating.render import Scope
from deployctl.templating.values import ANY_KEY, Unknown


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """What a command does about build and push steps."""

    skip: bool = False
    """They are left out."""
    outputs: BuildOutputs | None = None
    """They ran elsewhere, and this is what they gave."""
    image_provider: ImageProvider | None = None
    """Makes images."""
    find_existing: bool = False
    """Whether it is asked, for a plan, which images are there already."""
    pin_digests: bool = True
    """Whether job variables name pushed images by digest."""

    @property
    def runs_steps(self) -> bool:
        """Whether steps are run."""
        return not self.skip and self.outputs is None

    @property
    def pins(self) -> Mapping[str, Json]:
        """What job variables say instead of names of images, as far as it is known by now."""
        made = self.outputs or self.image_provider
        return made.pins if made and self.pin_digests else {}


def with_expected_outputs(
    known: PlanInputs, loaded: LoadedProject, building: BuildPlan, report: Report, session: Session
) -> PlanInputs:
    """The same with what the steps gave elsewhere, or what can be said of it before they run."""
    if building.outputs is not None:
        check_build_outputs(loaded.selected, building.outputs, report)
        names = [each.name for each in loaded.selected]
        nothing_said = {name: {ANY_KEY: Unknown(name, ANY_KEY)} for name in names}
        outputs = {**nothing_said, **building.outputs.outputs}
        return replace(known, outputs=outputs, pins=building.pins)
    if building.skip or not loaded.steps:
        return known
    place = logins = None
    if building.find_existing:
        pushes = [each.inputs for each in _steps(loaded) if is_docker_step(each)]
        logins = _library([each.get(CREDENTIALS_INPUT) for each in pushes], lambda: session)
        place = deploy_step_context(loaded, known, building, session, NullProgress())
    outputs = expected_outputs(loaded, known.environ, report, place, logins)
    return replace(known, outputs=outputs, pins=building.pins)


def expected_outputs(
    loaded: LoadedProject,
    environ: Mapping[str, str],
    report: Report,
    place: StepContext | None = None,
    logins: ReferenceValues | None = None,
) -> dict[str, Outputs]:
    """What the steps of a file will give; what is wrong with them is in the report. Images that are
    there already are looked for if there is a `place` to do it, with these `logins`."""
    outputs, problems = plan_steps(loaded.steps, Scope(environ, references=logins), place)
    report_problems(problems, report, loaded.document.spans.value)
    return outputs


def step_context(
    loaded: LoadedProject,
    folder: Path,
    environ: Mapping[str, str],
    maker: ImageProvider | None,
    progress: Progress,
    stop: CancellationToken,
    namespace: str,
) -> StepContext:
    """Where the steps of a file run, if deployctl runs in `folder`; `namespace` is for images."""
    python = project_python(Path(loaded.document.file).absolute().parent, environ)
    return StepContext(folder, environ, python, progress.output, stop, maker, namespace)


def deploy_step_context(
    loaded: LoadedProject,
    known: PlanInputs,
    building: BuildPlan,
    session: Session,
    progress: Progress,
) -> StepContext:
    """The same for a deploy, with the settings of its server."""
    namespace = session.settings.docker_build_namespace
    return step_context(
        loaded,
        known.folder,
        known.environ,
        building.image_provider,
        progress,
        session.cancellation,
        namespace,
    )


def run_build_steps(
    loaded: LoadedProject, place: StepContext, session: Callable[[], Session], done: CompletedSteps
) -> dict[str, Outputs]:
    """Runs the build and push steps of a file; `session` is asked for only where they name blocks
    or variables.

    `done`: the steps that ran for other files of the command, which do not run again; those that
    run now are added. Raises StepFailed, NotKept and Interrupted, and ApiError where the server is
    needed.
    """
    library = _library([each.inputs for each in _steps(loaded)], session)
    try:
        outputs = run_steps(loaded.steps, Scope(place.environ, references=library), place, done)
    except StepFailed as failed:
        failed.span = loaded.document.spans.value(failed.path)
        raise
    if place.image_provider:
        place.image_provider.check_pushed()
    return outputs


def _steps(loaded: LoadedProject) -> list[Step]:
    return [step for each in loaded.steps.values() for step in each]


def _library(values: Json, session: Callable[[], Session]) -> ReferenceValues | None:
    """The blocks and variables that are named in these values; None if there are none."""
    named = [reference for _, reference in references(values)]
    return run(read_references(named, secrets=True), session()) if named else None
