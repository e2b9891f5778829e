"""The steps that deployctl can run, by the names that Prefect gives them in both its majors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType

from deployctl.core.values import Json
from deployctl.steps import shell
from deployctl.steps.model import Step
from deployctl.templating.grammar import is_opaque
from deployctl.templating.problems import Problem


@dataclass(frozen=True, slots=True)
class Builtin:
    """A step that runs here, without Prefect."""

    run: Callable[..., dict[str, Json]]
    """Takes a `Workplace`, the step's name and the inputs as keywords; raises ProgramError."""
    inputs: Mapping[str, type]
    """What may stand below the function's name, and of which type; `object` is any."""
    required: frozenset[str] = frozenset()
    outputs: tuple[str, ...] = ("stdout", "stderr")


BUILTINS: Mapping[str, Builtin] = {
    "run_shell_script": Builtin(
        shell.run_shell_script,
        {
            "script": str,
            "directory": str,
            "env": dict,
            "stream_output": object,
            "expand_env_vars": object,
            "shell": object,
        },
        frozenset({"script"}),
    ),
    "pip_install_requirements": Builtin(
        shell.pip_install_requirements,
        {"directory": str, "requirements_file": str, "stream_output": object},
    ),
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
    yield Problem(
        step.path,
        "DC321",
        f"deployctl does not run '{step.function}' yet",
        "do by other means what it does, and deploy with --skip-build, which leaves all build and "
        "push steps out",
    )


def _check_inputs(step: Step, found: Builtin) -> Iterator[Problem]:
    """What is wrong with the inputs of one step (DC322); text with templates in it may be any."""
    for name, value in step.inputs.items():
        place = (*step.path, step.function, name)
        if name not in found.inputs:
            close = get_close_matches(name, found.inputs, 1)
            yield Problem(
                place,
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                f"did you mean '{close[0]}'?" if close else f"it has {', '.join(found.inputs)}",
            )
        elif not isinstance(value, (found.inputs[name], NoneType)) and not is_opaque(value):
            wanted = "text" if found.inputs[name] is str else "a mapping"
            message = f"the input '{name}' of the step '{step.short}' must be {wanted}"
            yield Problem(place, "DC322", message)
    for name in sorted(found.required):
        if step.inputs.get(name) is None:
            message = f"the step '{step.short}' needs the input '{name}'"
            yield Problem(step.path, "DC322", message, f"add '{name}:' below the function's name")
