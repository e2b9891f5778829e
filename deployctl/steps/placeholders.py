"""Checks of placeholders that need no server: which step provides what they name.

The outputs of built-in steps are known, those of other functions only when they run. After such a
function any name may be an output, so only names that resemble a known id are reported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from deployctl.core import redact
from deployctl.core.fix import ReplaceText
from deployctl.core.json_values import Json, JsonPath, format_path, leaves
from deployctl.steps.catalog import step_signature
from deployctl.steps.model import Step
from deployctl.templating.deployment import deployment_rule
from deployctl.templating.grammar import (
    Placeholder,
    PlaceholderKind,
    placeholders,
    similar_placeholder,
)
from deployctl.templating.problems import Problem
from deployctl.templating.references import Unresolved
from deployctl.templating.render import Treatment, no_output
from deployctl.templating.values import ANY_KEY, Unknown, lookup

_FILE = re.compile(r"(~|\.{0,2})/[\w./ -]*\.\w{1,8}")
Outputs: TypeAlias = dict[str, Json]
"""The outputs of the steps of one deployment: the `outputs` of a templating scope."""


def possible_outputs(steps: Iterable[Step]) -> Outputs:
    """The outputs that steps will have: by id, and flat; `ANY_KEY` stands for unknown names."""
    outputs = Outputs()
    for step in steps:
        outputs = with_outputs(outputs, step, unknown_outputs(step))
    return outputs


def unknown_outputs(step: Step) -> Outputs:
    """The outputs of a step that has not run, as far as their names are known."""
    known = step_signature(step)
    return {key: Unknown(step.name, key) for key in (known.outputs if known else (ANY_KEY,))}


def with_outputs(outputs: Outputs, step: Step, added: Outputs) -> Outputs:
    """The outputs with those of one more step."""
    return {**outputs, **({step.id: added} if step.id else {}), **added}


def check_step_outputs(steps: Sequence[Step], environ: Collection[str]) -> Iterator[Problem]:
    """Placeholders in build and push steps that no earlier step provides (DC303, DC330).

    Paths are those of the steps.
    """
    for index, step in enumerate(steps):
        yield from _check_inputs(step, possible_outputs(steps[:index]), environ)


def check_pull_outputs(pull: Sequence[Step], outputs: Outputs) -> Iterator[Problem]:
    """Placeholders in pull steps that neither a build step nor an earlier pull step provides.

    `outputs` are those of the build and push steps. The environment of a run is not an output.
    """
    for index, step in enumerate(pull):
        available = {**outputs, **possible_outputs(pull[:index])}
        yield from _check_inputs(step, available, ())


def check_entry_outputs(
    entry: Mapping[str, Json], outputs: Outputs, environ: Collection[str]
) -> Iterator[Problem]:
    """Placeholders in the fields of a deployment that no build or push step provides."""
    rule = deployment_rule()
    for path, leaf, placeholder in _step_placeholders(entry):
        resolved = rule(path, PlaceholderKind.STEP) is Treatment.RESOLVE
        if resolved and (reason := _missing(placeholder.name, outputs, environ)):
            yield _problem(path, reason, leaf, placeholder)


def _check_inputs(step: Step, outputs: Outputs, environ: Collection[str]) -> Iterator[Problem]:
    for path, leaf, placeholder in _step_placeholders(step.inputs):
        if (reason := _missing(placeholder.name, outputs, environ)) is not None:
            problem = _problem(path, reason, leaf, placeholder)
            yield problem.below((*step.path, step.function))


def _step_placeholders(value: Json) -> Iterator[tuple[JsonPath, str, Placeholder]]:
    for path, leaf, placeholder in _placeholders(value):
        if placeholder.kind is PlaceholderKind.STEP:
            yield path, leaf, placeholder


def _placeholders(value: Json) -> Iterator[tuple[JsonPath, str, Placeholder]]:
    """All placeholders in a value, each with its path and the text that it is in."""
    for path, leaf in leaves(value):
        if isinstance(leaf, str):
            yield from ((path, leaf, placeholder) for placeholder in placeholders(leaf))


def _missing(name: str, outputs: Outputs, environ: Collection[str]) -> Unresolved | None:
    """Why nothing provides this name; None if a step does or may."""
    if name in environ or name.partition(".")[0] in environ:
        return None
    known = {key: value for key, value in outputs.items() if key != ANY_KEY}
    try:
        lookup(known, name)
    except LookupError:
        reason = no_output(known, name)
    else:
        return None
    is_certain = reason.code == "DC330" or similar_placeholder(name) is not None
    return reason if is_certain or ANY_KEY not in outputs else None


def _problem(path: JsonPath, reason: Unresolved, leaf: str, placeholder: Placeholder) -> Problem:
    old = leaf[placeholder.start : placeholder.end]
    new = old.replace(placeholder.name, reason.meant, 1) if reason.meant else old
    fix = ReplaceText(path, old, new) if reason.meant else None
    message = f"{format_path(path)}: {reason.message}"
    return Problem(path, reason.code, message, reason.help, fix=fix)


def stored_credentials(pull: Iterable[Step], environ: Mapping[str, str]) -> Iterator[Problem]:
    """Credentials from the environment that would be stored with pull steps (DC307).

    `pull` are the steps as they are written. Prefect stores the value of `{{ $NAME }}`, too. The
    values are registered, so that they are never shown.
    """
    for step in pull:
        for path, _, placeholder in _placeholders(step.inputs):
            value = environ.get(placeholder.target)
            if placeholder.kind is not PlaceholderKind.ENV or not value:
                continue
            if _is_credential((placeholder.target, *map(str, path)), value):
                redact.register_secrets([value])
                yield Problem(
                    (*step.path, step.function, *path),
                    "DC307",
                    f"{format_path(path)}: the value of '{placeholder.target}' is stored on the "
                    "server in plain text",
                    "Save it as a Secret block and write '{{ prefect.blocks.secret.NAME }}': the "
                    "reference is stored, and the run reads the value.",
                )


def _is_credential(names: Iterable[str], value: str) -> bool:
    """Whether a value below these names is one, and not only the path of a file that holds it."""
    is_named_so = any(map(redact.is_secret_name, names)) and not _FILE.fullmatch(value)
    return is_named_so or redact.looks_like_credential(value)
