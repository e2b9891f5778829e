"""The steps that deployctl can run, by the names that Prefect gives them in both its majors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from deployctl.core.values import Json
from deployctl.steps import shell
from deployctl.steps.model import Step
from deployctl.templating.problems import Problem


@dataclass(frozen=True, slots=True)
class Builtin:
    """A step that runs here, without Prefect."""

    run: Callable[..., dict[str, Json]]
    """Takes a `Workplace`, the step's name and the inputs as keywords; raises ProgramError."""
    outputs: tuple[str, ...]

    @property
    def inputs(self) -> Mapping[str, inspect.Parameter]:
        """What may be given below the function's name."""
        parameters = inspect.signature(self.run).parameters
        return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


BUILTINS: Mapping[str, Builtin] = {
    "run_shell_script": Builtin(shell.run_shell_script, ("stdout", "stderr")),
    "pip_install_requirements": Builtin(shell.pip_install_requirements, ("stdout", "stderr")),
}
_PREFECT = ("prefect.deployments.steps.", "prefect.projects.steps.")
_DOCKER = ("prefect_docker.deployments.steps.", "prefect_docker.projects.steps.")


def builtin(step: Step) -> Builtin | None:
    """What runs a step; None for one that deployctl does not run."""
    return BUILTINS.get(step.short) if step.function.startswith(_PREFECT) else None


def is_docker_build(step: Step) -> bool:
    """Whether the step builds an image with prefect_docker."""
    return step.function.startswith(_DOCKER) and step.short == "build_docker_image"


def check_steps(steps: Iterable[Step]) -> list[Problem]:
    """What keeps build and push steps from being run (DC321, DC322); all before any runs."""
    return [problem for step in steps for problem in _check(step)]


def _check(step: Step) -> Iterator[Problem]:
    if (found := builtin(step)) is not None:
        yield from _check_inputs(step, found)
        return
    what = "builds images" if step.function.startswith(_DOCKER) else "runs custom functions"
    yield Problem(
        step.path,
        "DC321",
        f"deployctl does not run '{step.function}' yet",
        "run it before, and deploy with --skip-build, which leaves build and push steps out; "
        f"a version of deployctl that {what} is to come",
    )


def _check_inputs(step: Step, found: Builtin) -> Iterator[Problem]:
    for name in step.inputs:
        if name not in found.inputs:
            close = get_close_matches(name, found.inputs, 1)
            yield Problem(
                (*step.path, step.function, name),
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                f"did you mean '{close[0]}'?" if close else f"it has {', '.join(found.inputs)}",
            )
    for name, parameter in found.inputs.items():
        if parameter.default is parameter.empty and not isinstance(step.inputs.get(name), str):
            message = f"the step '{step.short}' needs the input '{name}', a text"
            yield Problem(step.path, "DC322", message, f"add '{name}:' below the function's name")
