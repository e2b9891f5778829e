"""Runs the build and push steps of deployments, and predicts their outputs for a plan.

The steps of one deployment run in order, those of different deployments in parallel. Equal steps
(same function, interpreter, folder, and inputs after rendering) run once per command, however many
deployments have them; so a step that depends on the effect of another should use an output of that
step in its inputs. A step that one deployment has twice runs twice.

Outputs belong to the deployment: by the step's id, and flat, where later steps win.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from deployctl.core import redact
from deployctl.core.errors import DeployctlError, Interrupted, ProgramError, StepFailed
from deployctl.core.json_values import Json, digest
from deployctl.core.suggest import shortened
from deployctl.steps.catalog import builtin_step, is_docker_build, is_docker_step, is_shell_step
from deployctl.steps.checks import check_steps
from deployctl.steps.context import StepContext
from deployctl.steps.custom import run_function
from deployctl.steps.docker import use_push_credentials
from deployctl.steps.model import Step
from deployctl.steps.placeholders import Outputs, unknown_outputs, with_outputs
from deployctl.templating.problems import Problem
from deployctl.templating.references import references
from deployctl.templating.render import Scope, render
from deployctl.templating.values import contains_unknown

DeploymentSteps: TypeAlias = Mapping[str, Sequence[Step]]
"""Deployment → its build and push steps, in order."""
CompletedSteps: TypeAlias = dict[str, Future[Outputs]]
"""The steps that a command has run or is running, by a digest of what makes them equal."""

_CONCURRENCY = 4
CREDENTIALS_INPUT = "credentials"
"""The input that has no effect on a step's outputs."""


def plan_steps(
    steps_by_deployment: DeploymentSteps, scope: Scope, context: StepContext | None = None
) -> tuple[dict[str, Outputs], list[Problem]]:
    """Predicts the outputs of each deployment's steps.

    They are `Unknown`, except if there is a `context`: then existing images are looked up, and
    shell steps run that only read git, or all of them if the context says so. Problems, at the
    paths of their steps, are placeholders in inputs that no earlier step and no environment
    variable fills, and failed look-ups. Blocks and variables are resolved when the steps run; those
    of `scope` are credentials for the look-ups, and inputs of shell steps that run.
    """
    outputs: dict[str, Outputs] = {}
    problems: list[Problem] = []
    seen: dict[str, Outputs | None] = {}
    for deployment, steps in steps_by_deployment.items():
        own, current = Outputs(), context
        for at, step in enumerate(steps):
            known = replace(scope, outputs=own)
            runs = current is not None and current.runs_shell_steps and is_shell_step(step)
            inputs, found = render(step.inputs, known if runs else replace(known, references=None))
            problems += [problem.below((*step.path, step.function)) for problem in found]
            if runs:
                redact.register_secrets(redact.find_secrets(inputs))
            if current:
                _use_push_credentials(step, inputs, steps[at + 1 :], known, current)
            predicted, failures = _predict(step, inputs, current, seen)
            problems += failures
            # The folder and files that a step leaves behind are unknown if its outputs are.
            current = _after(current, step, predicted) if current and predicted else None
            own = with_outputs(own, step, predicted or unknown_outputs(step))
        outputs[deployment] = own
    return outputs, problems


def _predict(
    step: Step,
    inputs: Mapping[str, Json],
    context: StepContext | None,
    seen: dict[str, Outputs | None],
) -> tuple[Outputs | None, list[Problem]]:
    """The outputs of a step if they can be known without running it, and failures to find out.

    `seen` caches the predictions of equal steps.
    """
    known = builtin_step(step)
    relevant = {name: value for name, value in inputs.items() if name != CREDENTIALS_INPUT}
    is_known = not contains_unknown(relevant) and not any(references(relevant))
    if not (context and known and known.find and is_known):
        return None, []
    if problems := check_steps([replace(step, inputs=inputs)]):
        return None, problems
    key = digest([step.short, str(context.folder), relevant])
    try:
        if key not in seen:
            seen[key] = known.find(context, relevant)
        return seen[key], []
    except Interrupted:
        raise
    except DeployctlError as error:
        return None, [Problem(step.path, error.code, error.message, error.help)]


def _use_push_credentials(
    step: Step,
    inputs: Mapping[str, Json],
    later: Sequence[Step],
    scope: Scope,
    context: StepContext,
) -> None:
    """Looks up the image of a build step with the credentials of later steps that push it.

    Credentials that aren't known yet are skipped.
    """
    name = inputs.get("image_name")
    if not (context.image_provider and is_docker_build(step) and isinstance(name, str)):
        return
    outputs = with_outputs(
        dict(scope.outputs or {}), step, {**unknown_outputs(step), "image_name": name}
    )
    scope = replace(scope, outputs=outputs)
    for each in later:
        if not (is_docker_step(each) and each.inputs.get(CREDENTIALS_INPUT)):
            continue
        written = {key: each.inputs.get(key) for key in ("image_name", CREDENTIALS_INPUT)}
        pushed, problems = render(written, scope)
        if not (problems or contains_unknown(pushed) or any(references(pushed))):
            with suppress(DeployctlError):  # reported when the step runs
                use_push_credentials(context, inputs, pushed)


def run_steps(
    steps_by_deployment: DeploymentSteps,
    scope: Scope,
    context: StepContext,
    completed: CompletedSteps,
    failures: dict[str, StepFailed] | None = None,
) -> dict[str, Outputs]:
    """Runs the steps of all deployments and returns the outputs of each.

    `scope` needs an environment, and references read with secrets if inputs use blocks. `completed`
    are the steps that this command has run already; those that run now are added.

    Raises StepFailed for the first step that fails, after which no other starts. If there are
    `failures`, it is added to these instead, and only the steps of that deployment end. Raises
    Interrupted on `context.cancellation`, which ends the running steps.
    """
    redact.register_secrets(v for k, v in context.environ.items() if redact.is_secret_name(k))
    engine = _Engine(steps_by_deployment, scope, context, completed, failures)
    with ThreadPoolExecutor(_CONCURRENCY, "steps") as threads:
        running = {
            name: threads.submit(engine.run, name, steps)
            for name, steps in steps_by_deployment.items()
        }
    if engine.failure:
        raise engine.failure
    return {
        name: outputs.result() for name, outputs in running.items() if name not in (failures or ())
    }


class _Engine:
    """State of `run_steps`: shared by its threads, one for each deployment."""

    def __init__(
        self,
        steps_by_deployment: DeploymentSteps,
        scope: Scope,
        context: StepContext,
        completed: CompletedSteps,
        failures: dict[str, StepFailed] | None,
    ) -> None:
        self.failure: Exception | None = None
        """The first error, after which no further step starts."""
        self._steps_by_deployment = steps_by_deployment
        self._scope = scope
        self._context = replace(
            context, output=lambda name, line: context.output(name, redact.redact(line))
        )
        self._completed = completed
        self._failures = failures
        self._running = 0
        self._lock = threading.Lock()

    def run(self, name: str, steps: Sequence[Step]) -> Outputs:
        """Runs the steps of one deployment, except those that ran or run for another."""
        try:
            return self._in_order(steps)
        except Exception as error:
            if self._failures is not None and isinstance(error, StepFailed):
                self._failures[name] = error
                return Outputs()
            with self._lock:
                self.failure = self.failure or error
            raise

    def _in_order(self, steps: Sequence[Step]) -> Outputs:
        context, outputs = self._context, Outputs()
        times: dict[str, int] = {}
        for at, step in enumerate(steps):
            if self.failure:
                raise self.failure
            context.cancellation.raise_if_cancelled()
            inputs = self._inputs(step, outputs)
            scope = replace(self._scope, outputs=outputs)
            _use_push_credentials(step, inputs, steps[at + 1 :], scope, context)
            key = digest([*_implementation(step, context), str(context.folder), inputs])
            times[key] = times.get(key, 0) + 1
            found = self._once(f"{key} {times[key]}", step, inputs, context)
            context = _after(context, step, found)
            outputs = with_outputs(outputs, step, found)
        return outputs

    def _once(self, key: str, step: Step, inputs: dict[str, Json], context: StepContext) -> Outputs:
        """The outputs of a step; it runs here unless another thread runs an equal one."""
        with self._lock:
            is_ours = key not in self._completed
            future = self._completed.setdefault(key, Future())
            self._running += is_ours
        if is_ours:
            try:
                future.set_result(self._run(step, inputs, context))
            except Exception as error:
                future.set_exception(error)
            with self._lock:
                self._running -= 1
                others = self._running
            stops = others and self._failures is None
            if stops and isinstance(failed := future.exception(), StepFailed):
                first_line = failed.message.partition("\n")[0]
                self._context.output("deployctl", f"{first_line}; waiting for running steps")
        return future.result()

    def _inputs(self, step: Step, outputs: Outputs) -> dict[str, Json]:
        """The rendered inputs; values under names such as `TOKEN` are masked from here on."""
        inputs, problems = render(step.inputs, replace(self._scope, outputs=outputs))
        if problems:
            raise self._failed(step, problems[0].message, problems[0].help)
        redact.register_secrets(redact.find_secrets(inputs))
        return dict(inputs)

    def _run(self, step: Step, inputs: dict[str, Json], context: StepContext) -> Outputs:
        for problem in check_steps([replace(step, inputs=inputs)]):
            raise self._failed(step, problem.message, problem.help, problem.code)
        known = builtin_step(step)
        try:
            if known is None:
                return run_function(context, step.name, step.function, inputs, step.requires)
            arguments = {name: value for name, value in inputs.items() if value is not None}
            return known.run(context, step.name, **arguments)
        except Interrupted:
            raise
        except DeployctlError as error:
            raise self._failed(step, error.message, error.help, error.code) from error

    def _failed(
        self, step: Step, message: str, help_: str | None, code: str = ProgramError.code
    ) -> StepFailed:
        """The error of a step; it names the deployments that have the step.

        It has the `code` of its cause, unless that only says that a program failed.
        """
        names = [
            deployment
            for deployment, steps in self._steps_by_deployment.items()
            if any((s.function, s.inputs) == (step.function, step.inputs) for s in steps)
        ]
        shown = shortened(names, 3)
        failed = StepFailed(redact.redact(f"step '{step.name}' of {shown}: {message}"), help=help_)
        failed.path = step.path
        if code != ProgramError.code:
            failed.code = code
        return failed


def _implementation(step: Step, context: StepContext) -> tuple[str, str]:
    """The function that a step runs, and the interpreter if that makes a difference."""
    known = builtin_step(step)
    if known is None:
        return step.function, context.python
    return step.short, context.python if known.by_python else ""


def _after(context: StepContext, step: Step, outputs: Outputs) -> StepContext:
    """The context of the steps after one with these outputs."""
    known = builtin_step(step)
    moves = known and known.moves and isinstance(outputs["directory"], str)
    if not moves:
        return context
    return replace(context, folder=context.folder / outputs["directory"], start=context.project)
