"""Checks build, push and pull steps as they are written, before any of them runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from deployctl.core.diagnostics import Severity
from deployctl.core.errors import DeployctlError, ProgramError
from deployctl.core.fix import MoveKey
from deployctl.core.json_values import leaves
from deployctl.core.suggest import closest, did_you_mean, similar
from deployctl.steps.catalog import (
    NAMES,
    BuiltinStep,
    StepSignature,
    is_missing_from_prefect,
    step_signature,
)
from deployctl.steps.model import Step
from deployctl.templating.grammar import has_placeholder
from deployctl.templating.problems import Problem

_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_MODULES = ("prefect.", "prefect_docker.", "prefect_aws.", "prefect_gcp.", "prefect_azure.")
_FORMER_NAMES = frozenset(
    f"prefect_{cloud}.{module}.steps.{name}"
    for cloud, storage in (("aws", "s3"), ("gcp", "gcs"), ("azure", "azure_blob_storage"))
    for module in ("projects", "deployments")
    for name in (f"push_project_to_{storage}", f"pull_project_from_{storage}")
)
"""Names of the first integrations, which are no misspelt new ones."""
_TYPE_NAMES: Mapping[type, str] = {str: "text", dict: "a mapping", list: "a list"}


def check_steps(steps: Iterable[Step]) -> list[Problem]:
    """The problems that would make steps fail when they run (DC321, DC322)."""
    return [problem for step in steps for problem in _check(step)]


def _check(step: Step) -> Iterator[Problem]:
    if (known := step_signature(step)) is not None:
        problems = list(_check_inputs(step, known))
        yield from problems or _check_together(step, known)
    elif not _FUNCTION.fullmatch(step.function):
        full = _full_name(step.short)
        message = f"'{step.function}' is not the full name of a function"
        renamed = MoveKey((*step.path, step.function), (*step.path, full))
        fix = renamed if full.rpartition(".")[2] == step.function else None
        help_ = f"Write its name with its module: {full}."
        yield Problem(step.path, "DC321", message, help_, fix=fix)
    elif correct := _misspelt(step.function):
        message = f"unknown function '{step.function}'"
        fix = MoveKey((*step.path, step.function), (*step.path, correct))
        yield Problem(step.path, "DC321", message, f"Did you mean '{correct}'?", fix=fix)
    elif is_missing_from_prefect(step):
        yield Problem(
            step.path,
            "DC321",
            f"no version of Prefect up to 3.9 has the step '{step.function}'",
            f"Did you mean '{_full_name(step.short)}'?",
            Severity.WARNING,
        )


def _full_name(short: str) -> str:
    """The full name of the most similar built-in step, or of one as an example."""
    known = {name.rpartition(".")[2]: name for name in reversed(NAMES)}
    return known[short if short in known else closest(short, known) or "run_shell_script"]


def _misspelt(function: str) -> str | None:
    """The known step whose name is almost the given one, for functions of Prefect."""
    if function in _FORMER_NAMES or not function.startswith(_MODULES):
        return None
    return closest(function, NAMES, 0.9)


def _check_inputs(step: Step, found: BuiltinStep | StepSignature) -> Iterator[Problem]:
    """Problems of single inputs (DC322); text with placeholders can become anything."""
    for name, value in step.inputs.items():
        path = (*step.path, step.function, name)
        expected = found.inputs.get(name, object)
        if name not in found.inputs and not found.any_input:
            guesses = [each for each in similar(name, found.inputs) if each not in step.inputs]
            yield Problem(
                path,
                "DC322",
                f"the step '{step.short}' has no input '{name}'",
                did_you_mean(name, found.inputs) or f"It has {', '.join(found.inputs)}.",
                fix=MoveKey(path, (*path[:-1], *guesses)) if len(guesses) == 1 else None,
                at_key=True,
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


def _check_together(step: Step, found: BuiltinStep | StepSignature) -> Iterator[Problem]:
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
            code = "DC322" if error.code == ProgramError.code else error.code
            yield Problem(step.path, code, error.message, error.help)
