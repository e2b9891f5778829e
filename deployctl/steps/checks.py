"""Checks build and push steps as they are written, before any of them runs."""

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
_TYPE_NAMES: Mapping[type, str] = {str: "text", dict: "a mapping", list: "a list"}


def check_steps(steps: Iterable[Step]) -> list[Problem]:
    """The problems that would make build and push steps fail (DC321, DC322)."""
    return [problem for step in steps for problem in _check(step)]


def _check(step: Step) -> Iterator[Problem]:
    if (found := builtin_step(step)) is not None:
        problems = list(_check_inputs(step, found))
        yield from problems or _check_together(step, found)
    elif not _FUNCTION.fullmatch(step.function):
        yield Problem(
            step.path,
            "DC321",
            f"'{step.function}' is not the full name of a function",
            f"Write its name with its module: {_full_name(step.short)}.",
        )
    elif correct := _misspelt(step.function):
        message = f"unknown function '{step.function}'"
        yield Problem(step.path, "DC321", message, f"Did you mean '{correct}'?")


def _full_name(short: str) -> str:
    """The full name of the most similar built-in step, or of one as an example."""
    known = {name.rpartition(".")[2]: name for name in reversed(NAMES)}
    return known[short if short in known else closest(short, known) or "run_shell_script"]


def _misspelt(function: str) -> str | None:
    """The built-in step whose name is almost the given one, for functions of Prefect."""
    if not function.startswith(("prefect.", "prefect_docker.")):
        return None
    return closest(function, NAMES, 0.9)


def _check_inputs(step: Step, found: BuiltinStep) -> Iterator[Problem]:
    """Problems of single inputs (DC322); text with placeholders can become anything."""
    for name, value in step.inputs.items():
        path = (*step.path, step.function, name)
        expected = found.inputs.get(name, object)
        if name not in found.inputs:
            yield Problem(
                path,
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                did_you_mean(name, found.inputs) or f"It has {', '.join(found.inputs)}.",
            )
        elif value is None or has_placeholder(value):
            continue
        elif isinstance(expected, tuple):
            if value not in expected:
                message = f"the input '{name}' of the step '{step.short}' cannot be '{value}'"
                yield Problem(path, "DC322", message, f"It can be {' or '.join(expected)}.")
        elif not isinstance(value, expected):
            message = (
                f"the input '{name}' of the step '{step.short}' must be {_TYPE_NAMES[expected]}"
            )
            yield Problem(path, "DC322", message)
    for name in sorted(found.required):
        if step.inputs.get(name) is None:
            message = f"the step '{step.short}' needs the input '{name}'"
            yield Problem(step.path, "DC322", message, f"Add '{name}:' below the function's name.")


def _check_together(step: Step, found: BuiltinStep) -> Iterator[Problem]:
    """Problems of inputs that are valid one by one, as far as their values are known."""
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
