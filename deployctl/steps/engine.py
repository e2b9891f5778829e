"""Runs the build and push steps of deployments, and says before what they will give.

Equal steps (same function, same inputs after rendering) run once per command, however many
deployments have them; so a step that depends on what another left behind should say so in its
inputs, by an output of that step. A step that a deployment has twice runs twice.

Outputs belong to the deployment: by the step's id, and flat, where later steps win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from deployctl.core import redact
from deployctl.core.errors import ProgramError, StepFailed
from deployctl.core.values import Json, digest
from deployctl.steps.catalog import BUILTINS, builtin, check_steps
from deployctl.steps.model import Step
from deployctl.steps.place import Workplace
from deployctl.templating.problems import Problem
from deployctl.templating.render import Scope, render
from deployctl.templating.values import Unknown

Wanted: TypeAlias = Mapping[str, Sequence[Step]]
"""The build and push steps of each deployment, in order, by a name to call it in messages."""
Outputs: TypeAlias = dict[str, Json]
"""What the steps of one deployment gave: the `outputs` of a templating scope."""


def plan_steps(wanted: Wanted, scope: Scope) -> tuple[dict[str, Outputs], list[Problem]]:
    """The outputs that the steps of each deployment will give, as `Unknown`, without running any.

    Problems are placeholders in inputs that no earlier step and no environment variable fills, at
    the paths of their steps. Blocks and variables are left for the run.
    """
    outputs: dict[str, Outputs] = {}
    problems: list[Problem] = []
    for deployment, steps in wanted.items():
        own: Outputs = {}
        for step in steps:
            here = replace(scope, outputs=own, references=None)
            _, found = render(step.inputs, here)
            problems += [problem.below((*step.path, step.function)) for problem in found]
            known = builtin(step)
            keys = known.outputs if known else ()
            own = _with(own, step, {key: Unknown(step.name, key) for key in keys})
        outputs[deployment] = own
    return outputs, problems


def run_steps(
    wanted: Wanted, scope: Scope, place: Workplace, done: dict[str, Outputs]
) -> dict[str, Outputs]:
    """Runs the steps of all deployments, one after the other; gives the outputs of each.

    `scope` needs an environment, and a library read with secrets if inputs name blocks. `done` are
    the outputs of steps that this command has run already; those that run now are added.

    Raises StepFailed at the first step that fails, before later ones start; Interrupted when
    `place.stop` is asked, which ends the step that runs.
    """
    redact.remember(v for name, v in place.environ.items() if redact.is_secret_name(name))
    engine = _Engine(wanted, scope, place, done)
    return {deployment: engine.run(steps) for deployment, steps in wanted.items()}


class _Engine:
    def __init__(
        self, wanted: Wanted, scope: Scope, place: Workplace, done: dict[str, Outputs]
    ) -> None:
        self.wanted = wanted
        self.scope = scope
        self.place = replace(
            place, output=lambda name, line: place.output(name, redact.redact(line))
        )
        self.done = done

    def run(self, steps: Sequence[Step]) -> Outputs:
        """Runs the steps of one deployment, except those that ran before for another."""
        outputs: Outputs = {}
        times: dict[str, int] = {}
        for step in steps:
            self.place.stop.check()
            inputs = self._inputs(step, outputs)
            same = digest([step.short, inputs])
            times[same] = times.get(same, 0) + 1
            key = f"{same} {times[same]}"
            if key not in self.done:
                self.done[key] = self._run(step, inputs)
            outputs = _with(outputs, step, self.done[key])
        return outputs

    def _inputs(self, step: Step, outputs: Outputs) -> dict[str, Json]:
        """The rendered inputs; values under names such as `TOKEN` are secrets from here on."""
        inputs, problems = render(step.inputs, replace(self.scope, outputs=outputs))
        if problems:
            raise self._failed(step, problems[0].message, problems[0].help)
        redact.remember(redact.secret_texts(inputs))
        return dict(inputs)

    def _run(self, step: Step, inputs: dict[str, Json]) -> Outputs:
        rendered = replace(step, inputs=inputs)
        for problem in check_steps([rendered]):
            raise self._failed(step, problem.message, problem.help)
        given = {name: value for name, value in inputs.items() if value is not None}
        try:
            return BUILTINS[step.short].run(self.place, step.name, **given)
        except ProgramError as error:
            raise self._failed(step, error.message, error.help) from error

    def _failed(self, step: Step, message: str, help_: str | None) -> StepFailed:
        """The error of a step; it names all deployments that have it."""
        names = [
            deployment
            for deployment, steps in self.wanted.items()
            if any((s.function, s.inputs) == (step.function, step.inputs) for s in steps)
        ]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        return StepFailed(redact.redact(f"step '{step.name}' of {shown}: {message}"), help=help_)


def _with(outputs: Outputs, step: Step, given: Outputs) -> Outputs:
    """The outputs with those of one more step."""
    return {**outputs, **({step.id: given} if step.id else {}), **given}
