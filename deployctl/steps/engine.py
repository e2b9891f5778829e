"""Runs the build and push steps of deployments, and says before what they will give.

The steps of one deployment run in order, those of different deployments at the same time. Equal
steps (same function, interpreter, folder, and inputs after rendering) run once per command, however
many deployments have them; so a step that depends on what another left behind should say so in its
inputs, by an output of that step. A step that a deployment has twice runs twice.

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
from deployctl.steps.catalog import builtin_step, is_docker_build, is_docker_step
from deployctl.steps.checks import check_steps
from deployctl.steps.context import StepContext
from deployctl.steps.custom import run_function
from deployctl.steps.docker import log_in
from deployctl.steps.model import Step
from deployctl.templating.problems import Problem
from deployctl.templating.references import references
from deployctl.templating.render import Scope, render
from deployctl.templating.values import ANY_KEY, Unknown, contains_unknown

DeploymentSteps: TypeAlias = Mapping[str, Sequence[Step]]
"""The build and push steps of each deployment, in order, by a name to call it in messages."""
Outputs: TypeAlias = dict[str, Json]
"""What the steps of one deployment gave: the `outputs` of a templating scope."""
CompletedSteps: TypeAlias = dict[str, Future[Outputs]]
"""The steps that a command has run or is running, by what makes them equal."""

_AT_ONCE = 4
CREDENTIALS_INPUT = "credentials"
"""The input that changes nothing about what a step gives."""


def plan_steps(
    wanted: DeploymentSteps, scope: Scope, place: StepContext | None = None
) -> tuple[dict[str, Outputs], list[Problem]]:
    """The outputs that the steps of each deployment will give, without running any: `Unknown`, but
    for images that are there already, which are looked for if there is a `place` to do it.

    Problems are placeholders in inputs that no earlier step and no environment variable fills, and
    what keeps an image from being looked for, at the paths of their steps. Blocks and variables are
    left for the run; those of `scope` are only for logins that images are looked up with.
    """
    outputs: dict[str, Outputs] = {}
    problems: list[Problem] = []
    seen: dict[str, Outputs | None] = {}
    for deployment, steps in wanted.items():
        own, here = Outputs(), place
        for at, step in enumerate(steps):
            known = replace(scope, outputs=own)
            inputs, found = render(step.inputs, replace(known, references=None))
            problems += [problem.below((*step.path, step.function)) for problem in found]
            if here:
                _log_in(step, inputs, steps[at + 1 :], known, here)
            given, wrong = _found(step, inputs, here, seen)
            problems += wrong
            # What a step that has to be run leaves behind for later ones is unknown as well.
            here = _moved(here, step, given) if here and given else None
            own = _with(own, step, given or _unknown(step))
        outputs[deployment] = own
    return outputs, problems


def _unknown(step: Step) -> Outputs:
    """What a step will give, of which nothing is known yet but some names."""
    known = builtin_step(step)
    return {key: Unknown(step.name, key) for key in (known.outputs if known else (ANY_KEY,))}


def _found(
    step: Step,
    inputs: Mapping[str, Json],
    place: StepContext | None,
    seen: dict[str, Outputs | None],
) -> tuple[Outputs | None, list[Problem]]:
    """What a step will give, if that is known although it has not run, and what keeps it so.

    `seen`: what was found for equal steps, to which this one is added.
    """
    known = builtin_step(step)
    counting = {name: value for name, value in inputs.items() if name != CREDENTIALS_INPUT}
    is_known = not contains_unknown(counting) and not any(references(counting))
    if not (place and known and known.find and is_known):
        return None, []
    if wrong := check_steps([replace(step, inputs=inputs)]):
        return None, wrong
    same = digest([step.short, str(place.folder), counting])
    try:
        if same not in seen:
            seen[same] = known.find(place, counting)
        return seen[same], []
    except Interrupted:
        raise
    except DeployctlError as error:
        return None, [Problem(step.path, error.code, error.message, error.help)]


def _log_in(
    step: Step, inputs: Mapping[str, Json], later: Sequence[Step], scope: Scope, place: StepContext
) -> None:
    """Has the image of a build step looked up by the logins of the steps that will push it, as far
    as they are known by now."""
    name = inputs.get("image_name")
    if not (place.image_provider and is_docker_build(step) and isinstance(name, str)):
        return
    given = {**_unknown(step), "image_name": name}
    scope = replace(scope, outputs=_with(dict(scope.outputs or {}), step, given))
    for each in later:
        if not (is_docker_step(each) and each.inputs.get(CREDENTIALS_INPUT)):
            continue
        written = {key: each.inputs.get(key) for key in ("image_name", CREDENTIALS_INPUT)}
        pushed, problems = render(written, scope)
        if not (problems or contains_unknown(pushed) or any(references(pushed))):
            with suppress(DeployctlError):  # it is told when the step runs
                log_in(place, inputs, pushed)


def run_steps(
    wanted: DeploymentSteps, scope: Scope, place: StepContext, done: CompletedSteps
) -> dict[str, Outputs]:
    """Runs the steps of all deployments; gives the outputs of each.

    `scope` needs an environment, and a library read with secrets if inputs name blocks. `done` are
    the steps that this command has run already; those that run now are added.

    Raises StepFailed for the first step that fails, after which no other starts; Interrupted when
    `place.stop` is asked, which ends the steps that run.
    """
    redact.register_secrets(v for name, v in place.environ.items() if redact.is_secret_name(name))
    engine = _Engine(wanted, scope, place, done)
    with ThreadPoolExecutor(_AT_ONCE, "steps") as threads:
        running = {name: threads.submit(engine.run, steps) for name, steps in wanted.items()}
    if engine.failure:
        raise engine.failure
    return {name: outputs.result() for name, outputs in running.items()}


class _Engine:
    def __init__(
        self, wanted: DeploymentSteps, scope: Scope, place: StepContext, done: CompletedSteps
    ) -> None:
        self.wanted = wanted
        self.scope = scope
        self.place = replace(
            place, output=lambda name, line: place.output(name, redact.redact(line))
        )
        self.done = done
        self.failure: Exception | None = None
        """What ended the first deployment whose steps could not all be run."""
        self._running = 0
        self._lock = threading.Lock()

    def run(self, steps: Sequence[Step]) -> Outputs:
        """Runs the steps of one deployment, except those that run for another."""
        try:
            return self._in_order(steps)
        except Exception as error:
            with self._lock:
                self.failure = self.failure or error
            raise

    def _in_order(self, steps: Sequence[Step]) -> Outputs:
        place, outputs = self.place, Outputs()
        times: dict[str, int] = {}
        for at, step in enumerate(steps):
            if self.failure:
                raise self.failure
            place.stop.raise_if_cancelled()
            inputs = self._inputs(step, outputs)
            _log_in(step, inputs, steps[at + 1 :], replace(self.scope, outputs=outputs), place)
            same = digest([*_runner(step, place), str(place.folder), inputs])
            times[same] = times.get(same, 0) + 1
            given = self._once(f"{same} {times[same]}", step, inputs, place)
            place = _moved(place, step, given)
            outputs = _with(outputs, step, given)
        return outputs

    def _once(self, key: str, step: Step, inputs: dict[str, Json], place: StepContext) -> Outputs:
        """What a step gives; it is run here unless somebody runs it already."""
        with self._lock:
            is_ours = key not in self.done
            future = self.done.setdefault(key, Future())
            self._running += is_ours
        if is_ours:
            try:
                future.set_result(self._run(step, inputs, place))
            except Exception as error:
                future.set_exception(error)
            with self._lock:
                self._running -= 1
                others = self._running
            if others and isinstance(failed := future.exception(), StepFailed):
                first_line = failed.message.partition("\n")[0]
                self.place.output("deployctl", f"{first_line}; what still runs is waited for")
        return future.result()

    def _inputs(self, step: Step, outputs: Outputs) -> dict[str, Json]:
        """The rendered inputs; values under names such as `TOKEN` are secrets from here on."""
        inputs, problems = render(step.inputs, replace(self.scope, outputs=outputs))
        if problems:
            raise self._failed(step, problems[0].message, problems[0].help)
        redact.register_secrets(redact.find_secrets(inputs))
        return dict(inputs)

    def _run(self, step: Step, inputs: dict[str, Json], place: StepContext) -> Outputs:
        for problem in check_steps([replace(step, inputs=inputs)]):
            raise self._failed(step, problem.message, problem.help, problem.code)
        known = builtin_step(step)
        try:
            if known is None:
                return run_function(place, step.name, step.function, inputs, step.requires)
            given = {name: value for name, value in inputs.items() if value is not None}
            return known.run(place, step.name, **given)
        except Interrupted:
            raise
        except DeployctlError as error:
            raise self._failed(step, error.message, error.help, error.code) from error

    def _failed(
        self, step: Step, message: str, help_: str | None, code: str = ProgramError.code
    ) -> StepFailed:
        """The error of a step; it names all deployments that have it.

        `code` is that of the cause, which explains more than that a step failed.
        """
        names = [
            deployment
            for deployment, steps in self.wanted.items()
            if any((s.function, s.inputs) == (step.function, step.inputs) for s in steps)
        ]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        failed = StepFailed(redact.redact(f"step '{step.name}' of {shown}: {message}"), help=help_)
        failed.path = step.path
        if code != ProgramError.code:
            failed.code = code
        return failed


def _runner(step: Step, place: StepContext) -> tuple[str, str]:
    """What runs a step: the function, and the interpreter where that makes a difference."""
    known = builtin_step(step)
    if known is None:
        return step.function, place.python
    return step.short, place.python if known.by_python else ""


def _moved(place: StepContext, step: Step, given: Outputs) -> StepContext:
    """Where the steps after one that gave these outputs run."""
    known = builtin_step(step)
    moves = known and known.moves and isinstance(given["directory"], str)
    return replace(place, folder=place.folder / given["directory"]) if moves else place


def _with(outputs: Outputs, step: Step, given: Outputs) -> Outputs:
    """The outputs with those of one more step."""
    return {**outputs, **({step.id: given} if step.id else {}), **given}
