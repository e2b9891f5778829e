"""Build and push steps of a command: run, predicted, taken from an earlier build, or skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.desired_state import PlanInputs
from deployctl.app.deploying.images_file import (
    BuildOutputs,
    check_build_outputs,
    check_secret_outputs,
)
from deployctl.app.deploying.load import LoadedProject, SelectedDeployment
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.errors import StepFailed
from deployctl.core.json_values import Json, leaves
from deployctl.core.progress import NullProgress, Progress
from deployctl.flows.importer import project_python
from deployctl.images.pipeline import ImageProvider
from deployctl.project.declared import declared_sources
from deployctl.steps.catalog import is_docker_step, is_shell_step
from deployctl.steps.context import StepContext
from deployctl.steps.engine import CREDENTIALS_INPUT, CompletedSteps, plan_steps, run_steps
from deployctl.steps.model import Step
from deployctl.steps.placeholders import Outputs
from deployctl.templating.problems import report_problems
from deployctl.templating.references import ReferenceValues, read_references, references
from deployctl.templating.render import Scope
from deployctl.templating.values import ANY_KEY, Unknown


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """How a command treats build and push steps."""

    skip: bool = False
    """They are not run."""
    outputs: BuildOutputs | None = None
    """They ran in another command, which wrote these outputs."""
    image_provider: ImageProvider | None = None
    find_existing: bool = False
    """Whether a plan looks up which images exist already and what git says."""
    run_shell_steps: bool = False
    """Whether a plan runs shell steps."""
    pin_digests: bool = True
    """Whether job variables name pushed images by digest."""

    @property
    def runs_steps(self) -> bool:
        """Whether steps are run."""
        return not self.skip and self.outputs is None

    @property
    def pins(self) -> Mapping[str, Json]:
        """Image name → the name with a digest that job variables get, as far as pushed by now."""
        source = self.outputs or self.image_provider
        return source.pins if source and self.pin_digests else {}


def with_expected_outputs(
    inputs: PlanInputs,
    loaded: LoadedProject,
    build_plan: BuildPlan,
    report: Report,
    session: Session,
) -> tuple[LoadedProject, PlanInputs]:
    """The inputs with the outputs of an earlier build, or what is known before the steps run.

    And the project without deployments with errors, if the command keeps going.
    """
    if (built := build_plan.outputs) is not None:
        loaded = loaded.keep_valid(lambda each, own: check_build_outputs(each, built, own), report)
        unknown = {each.name: {ANY_KEY: Unknown(each.name, ANY_KEY)} for each in loaded.selected}
        outputs = {**unknown, **built.outputs}
        return loaded, replace(inputs, outputs=outputs, pins=build_plan.pins)
    if build_plan.skip or not loaded.steps:
        return loaded, inputs
    context = references = None
    if build_plan.find_existing:
        used = [_inputs_for_plan(step, build_plan) for step in _steps(loaded)]
        references = _references(used, lambda: session, loaded)
        context = deploy_step_context(loaded, inputs, build_plan, session, NullProgress())
        context = replace(context, runs_shell_steps=build_plan.run_shell_steps)
    loaded, outputs = expected_outputs(loaded, inputs.environ, report, context, references)
    if context:
        loaded = without_secret_outputs(loaded, outputs, report)
    return loaded, replace(inputs, outputs=outputs, pins=build_plan.pins)


def without_secret_outputs(
    loaded: LoadedProject, outputs: Mapping[str, Outputs], report: Report
) -> LoadedProject:
    """The project after `check_secret_outputs`; see `LoadedProject.keep_valid`."""
    return loaded.keep_valid(lambda each, own: check_secret_outputs(each, outputs, own), report)


def _inputs_for_plan(step: Step, build_plan: BuildPlan) -> Json:
    """The inputs of a step whose references a plan resolves."""
    if is_docker_step(step):
        return step.inputs.get(CREDENTIALS_INPUT)
    return step.inputs if build_plan.run_shell_steps and is_shell_step(step) else None


def expected_outputs(
    loaded: LoadedProject,
    environ: Mapping[str, str],
    report: Report,
    context: StepContext | None = None,
    references: ReferenceValues | None = None,
) -> tuple[LoadedProject, dict[str, Outputs]]:
    """The outputs that the steps of a file will have; problems with the steps are reported.

    And the project without deployments with such problems, if the command keeps going. With a
    `context`, `plan_steps` finds out more; `references` are what it needs for that.
    """
    outputs, problems = plan_steps(loaded.steps, Scope(environ, references=references), context)

    def check(each: SelectedDeployment, own: Report) -> None:
        """Reports the problems of the steps that the deployment has."""
        paths = [step.path for step in (*each.build, *each.push)]
        found = [
            problem
            for problem in problems
            if any(problem.path[: len(path)] == path for path in paths)
        ]
        report_problems(found, own, loaded.document.spans.value)

    return loaded.keep_valid(check, report), outputs


def step_context(
    loaded: LoadedProject,
    folder: Path,
    environ: Mapping[str, str],
    image_provider: ImageProvider | None,
    progress: Progress,
    stop: CancellationToken,
    namespace: str,
) -> StepContext:
    """The context in which the steps of a file run if deployctl runs in `folder`.

    `namespace` is prepended to image names without one (PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE).
    """
    python = project_python(Path(loaded.document.file).absolute().parent, environ)
    return StepContext(folder, environ, python, progress.output, stop, image_provider, namespace)


def deploy_step_context(
    loaded: LoadedProject,
    inputs: PlanInputs,
    build_plan: BuildPlan,
    session: Session,
    progress: Progress,
) -> StepContext:
    """The step context of a deploy, with the settings of its server."""
    return step_context(
        loaded,
        inputs.folder,
        inputs.environ,
        build_plan.image_provider,
        progress,
        session.cancellation,
        session.settings.docker_build_namespace,
    )


def run_build_steps(
    loaded: LoadedProject,
    context: StepContext,
    session: Callable[[], Session],
    completed: CompletedSteps,
    report: Report,
) -> tuple[LoadedProject, dict[str, Outputs]]:
    """Runs the build and push steps of a file, and returns their outputs.

    And the project without deployments of which a step failed, if the command keeps going.
    `session` is called only if steps use blocks or variables. `completed` are the steps that ran
    for other files of the command; they don't run again, and those that run now are added. Raises
    StepFailed, UnpushedImage and Interrupted, and ApiError if the server is needed.
    """
    references = _references([step.inputs for step in _steps(loaded)], session, loaded)
    scope = Scope(context.environ, references=references)
    failures: dict[str, StepFailed] | None = {} if loaded.keeps_going else None
    try:
        outputs = run_steps(loaded.steps, scope, context, completed, failures)
    except StepFailed as failed:
        failed.span = loaded.document.spans.value(failed.path)
        raise

    def check(each: SelectedDeployment, own: Report) -> None:
        """Reports the failed step of the deployment."""
        if failed := (failures or {}).get(each.name):
            span = loaded.document.spans.value(failed.path)
            own.add(failed.code, failed.message, span, help=failed.help, severity=Severity.ERROR)

    if context.image_provider:
        used = {leaf for _, leaf in leaves(outputs) if isinstance(leaf, str)}
        context.image_provider.check_pushed(used if failures else None)
    return loaded.keep_valid(check, report), outputs


def _steps(loaded: LoadedProject) -> list[Step]:
    return [step for steps in loaded.steps.values() for step in steps]


def _references(
    values: Json, session: Callable[[], Session], loaded: LoadedProject
) -> ReferenceValues | None:
    """The blocks and variables that these values reference; None if there are none.

    Those that the file declares have its values, which may not be on the server yet.
    """
    found = [reference for _, reference in references(values)]
    if not found:
        return None
    declared = declared_sources(loaded.declared, secrets=True)
    stored = [each for each in found if (each.kind, each.source) not in declared]
    known = ReferenceValues({}, secrets=True)
    if stored:
        known = run(read_references(stored, secrets=True), session())
    return known.with_sources(declared)
