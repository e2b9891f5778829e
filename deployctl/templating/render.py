"""Replaces placeholders by values, in any JSON value and in one pass.

A pass has the sources that are known by then (`Scope`), and a rule that says which placeholders it
leaves alone (`Rule`). Placeholders that a pass does not resolve stay as they are written, so that a
later pass or the worker can resolve them. A name that a given source does not have is a `Problem`.

Replaced values are not searched for placeholders again in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.core.suggest import did_you_mean, quoted, similar
from deployctl.templating.grammar import (
    Placeholder,
    PlaceholderKind,
    placeholders,
    similar_placeholder,
)
from deployctl.templating.problems import Problem
from deployctl.templating.references import Reference, Unresolved, document_id
from deployctl.templating.values import Unknown, lookup


@dataclass(frozen=True, slots=True)
class Scope:
    """The sources of a pass; None: not in this pass, left for a later one."""

    environ: Mapping[str, str] | None = None
    outputs: Mapping[str, Json] | None = None
    """Outputs of build and push steps: a mapping per step id, and all outputs by name."""
    references: Callable[[Reference], Json] | None = None
    """Gives the value of a block or variable or raises `Unresolved`; see `references.Library`."""


class Treatment(StrEnum):
    """How a pass treats a placeholder."""

    RESOLVE = "resolve"
    OFFER = "offer"
    """Resolve it if a step or the environment provides it, else keep it for the worker. The
    environment does not stand in for a step."""
    KEEP = "keep"


Rule: TypeAlias = Callable[[JsonPath, PlaceholderKind], Treatment]
"""The treatment of placeholders of a kind at a path."""


def resolve_all(path: JsonPath, kind: PlaceholderKind) -> Treatment:  # noqa: ARG001
    """The default rule: every placeholder is resolved."""
    return Treatment.RESOLVE


def render(value: Json, scope: Scope, rule: Rule = resolve_all) -> tuple[Json, list[Problem]]:
    """Returns `value` with placeholders resolved, and the problems of those without a value.

    Text that is one placeholder becomes the value with its type; in longer text the value becomes
    text. Text with an `Unknown` in it becomes that `Unknown`. Keys of mappings are never templates.
    """
    renderer = _Renderer(scope, rule, [])
    return renderer.value(value, ()), renderer.problems


@dataclass(frozen=True, slots=True)
class _Renderer:
    scope: Scope
    rule: Rule
    problems: list[Problem]

    def value(self, value: Json, path: JsonPath) -> Json:
        """The rendered value."""
        if isinstance(value, str):
            return self._text(value, path) if "{{" in value else value
        if isinstance(value, list):
            return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            if document_id(value):
                return self._resolved(PlaceholderKind.DOCUMENT, document_id(value), path, value)
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        return value

    def _text(self, text: str, path: JsonPath) -> Json:
        found = placeholders(text)
        if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
            return self._resolved(found[0].kind, found[0].target, path, text)
        pieces, end = [], 0
        for placeholder in found:
            verbatim = text[placeholder.start : placeholder.end]
            piece = self._resolved(placeholder.kind, placeholder.target, path, verbatim)
            if isinstance(piece, Unknown):
                return piece
            if placeholder.kind is PlaceholderKind.BLOCK and isinstance(piece, dict | list):
                self._cannot_embed(placeholder, path)
            pieces += [text[end : placeholder.start], str(piece)]
            end = placeholder.end
        return "".join(pieces) + text[end:]

    def _resolved(self, kind: PlaceholderKind, target: str, path: JsonPath, verbatim: Json) -> Json:
        """The value of a placeholder, or its text where it stays."""
        treatment = self.rule(path, kind)
        if treatment is Treatment.KEEP:
            return verbatim
        scope = self.scope
        if treatment is Treatment.OFFER and kind is PlaceholderKind.STEP:
            scope = replace(scope, environ=None)
        try:
            return _SOURCES[kind](scope, target)
        except _NotInThisPass:
            return verbatim
        except Unresolved as reason:
            if treatment is Treatment.RESOLVE:
                self.problems.append(_problem(path, reason))
            return verbatim

    def _cannot_embed(self, placeholder: Placeholder, path: JsonPath) -> None:
        message = f"'{placeholder}' is a mapping or a list and cannot be part of a longer text"
        help_ = "Name one value of it, as in '{{ prefect.blocks.type.name.key }}'."
        self.problems.append(_problem(path, Unresolved("DC305", message, help_)))


class _NotInThisPass(Exception):
    """The scope lacks the source of this placeholder."""


def _environment(scope: Scope, name: str) -> Json:
    if scope.environ is None:
        raise _NotInThisPass
    if name not in scope.environ:
        raise Unresolved(
            "DC302",
            f"the environment variable '{name}' is not set",
            f"Set {name} where deployctl runs, or write the value into the file.",
        )
    return scope.environ[name]


def _output(scope: Scope, name: str) -> Json:
    if scope.outputs is None:
        raise _NotInThisPass
    try:
        return lookup(scope.outputs, name)
    except LookupError:
        if name in (scope.environ or {}):
            return _environment(scope, name)
    raise no_output(scope.outputs, name)


def no_output(outputs: Mapping[str, Json], name: str) -> Unresolved:
    """The reason why no step provides `name`, with what was probably meant."""
    step, _, key = name.partition(".")
    own = outputs.get(step)
    if isinstance(own, dict):
        message = f"the step '{step}' has no output '{key or step}'"
        help_ = did_you_mean(key, own) or f"It has {quoted(own)}."
        return Unresolved("DC303", message, help_, _only(f"{step}.", similar(key, own)))
    message = f"no step has the output '{name}'"
    if (meant := similar_placeholder(name)) is not None:
        return Unresolved("DC303", message, f"Write '{{{{ {meant} }}}}'.", meant)
    by_id = [id_ for id_, value in outputs.items() if isinstance(value, dict)]
    if key and (guess := did_you_mean(step, by_id)) is not None:
        message = f"no step has the id '{step}' of '{{{{ {name} }}}}'"
        return Unresolved("DC330", message, guess, _only("", similar(step, by_id), f".{key}"))
    listed = f"The steps have {quoted(outputs)}." if outputs else "No step runs before it."
    flat = [each for each in outputs if each not in by_id and not key]
    return Unresolved(
        "DC303", message, did_you_mean(name, flat) or listed, _only("", similar(name, flat))
    )


def _only(before: str, names: Sequence[str], after: str = "") -> str | None:
    """The name with what stands around it if it is the only one, else None."""
    return f"{before}{names[0]}{after}" if len(names) == 1 else None


def _reference(kind: PlaceholderKind) -> Callable[[Scope, str], Json]:
    def resolve(scope: Scope, name: str) -> Json:
        """The value of the reference, if the pass reads references."""
        if scope.references is None:
            raise _NotInThisPass
        return scope.references(Reference(kind, name))

    return resolve


def _left_to_worker(scope: Scope, name: str) -> Json:  # noqa: ARG001
    raise _NotInThisPass


_SOURCES: Mapping[PlaceholderKind, Callable[[Scope, str], Json]] = {
    PlaceholderKind.STEP: _output,
    PlaceholderKind.ENV: _environment,
    PlaceholderKind.VARIABLE: _reference(PlaceholderKind.VARIABLE),
    PlaceholderKind.BLOCK: _reference(PlaceholderKind.BLOCK),
    PlaceholderKind.DOCUMENT: _reference(PlaceholderKind.DOCUMENT),
    PlaceholderKind.CTX: _left_to_worker,
}


def _problem(path: JsonPath, reason: Unresolved) -> Problem:
    prefix = f"{format_path(path)}: " if path else ""
    return Problem(path, reason.code, f"{prefix}{reason.message}", reason.help)
