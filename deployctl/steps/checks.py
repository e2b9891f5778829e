"""What is wrong with build and push steps as they are written: told before any of them runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import leaves
from deployctl.core.suggest import closest, did_you_mean
from deployctl.steps.catalog import NAMES, BuiltinStep, builtin_step
from deployctl.steps.model import Step
from deployctl.templating.grammar import has_placeholder
from deployctl.templating.problems import Problem

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_CALLED: Mapping[type, str] = {str: "text", dict: "a mapping", list: "a list"}


def check_steps(steps: Iterable[Step]) -> list[Problem]:
    """What keeps build and push steps from being run (DC321, DC322); all before any runs."""
    return [problem for step in steps for problem in _check(step)]


def _check(step: Step) -> Iterator[Problem]:
    if (found := builtin_step(step)) is not None:
        problems = list(_check_inputs(step, found))
        yield from problems or _check_together(step, found)
    elif not _FUNCTION.fullmatch(step.function):
        yield Problem(
            step.path,
            "DC321",
            f"'{step.function}' is not the name of a function",
            f"write its whole name, with its module: {_close(step.short)}",
        )
    elif meant := _misspelt(step.function):
        message = f"there is no function '{step.function}'"
        yield Problem(step.path, "DC321", message, f"Did you mean '{meant}'?")


def _close(short: str) -> str:
    """The whole name of the step that is most likely meant, or one for an example."""
    known = {name.rpartition(".")[2]: name for name in reversed(NAMES)}
    return known[short if short in known else closest(short, known) or "run_shell_script"]


def _misspelt(function: str) -> str | None:
    """The step that is meant by a name that is almost its own, in a package of Prefect's."""
    if not function.startswith(("prefect.", "prefect_docker.")):
        return None
    return closest(function, NAMES, 0.9)


def _check_inputs(step: Step, found: BuiltinStep) -> Iterator[Problem]:
    """What is wrong with the inputs of one step (DC322); text with templates in it may be any."""
    for name, value in step.inputs.items():
        place = (*step.path, step.function, name)
        wanted = found.inputs.get(name, object)
        if name not in found.inputs:
            yield Problem(
                place,
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                did_you_mean(name, found.inputs) or f"it has {', '.join(found.inputs)}",
            )
        elif value is None or has_placeholder(value):
            continue
        elif isinstance(wanted, tuple):
            if value not in wanted:
                message = f"the input '{name}' of the step '{step.short}' cannot be '{value}'"
                yield Problem(place, "DC322", message, f"it can be {' or '.join(wanted)}")
        elif not isinstance(value, wanted):
            message = f"the input '{name}' of the step '{step.short}' must be {_CALLED[wanted]}"
            yield Problem(place, "DC322", message)
    for name in sorted(found.required):
        if step.inputs.get(name) is None:
            message = f"the step '{step.short}' needs the input '{name}'"
            yield Problem(step.path, "DC322", message, f"add '{name}:' below the function's name")


def _check_together(step: Step, found: BuiltinStep) -> Iterator[Problem]:
    """What is wrong with inputs that are right one by one, as far as they are known."""
    known = {
        name: value
        for name, value in step.inputs.items()
        if not any(has_placeholder(leaf) for _, leaf in leaves(value))
    }
    if found.check and found.required <= known.keys():
        try:
            found.check(known)
        except DeployctlError as error:
            yield Problem(step.path, error.code, error.message, error.help)
