"""Puts values in the place of placeholders, in any JSON value and in one pass.

A pass is given the sources that are known by now (`Scope`), and the rule which placeholders are
not its business (`Rule`). Whatever a pass does not resolve stays as it was written, list items
included, so that a later pass or the worker can. A source that is given is final: a name that it
does not have is a `Problem`.

A value that was put in is not searched for placeholders again in the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.templating.grammar import Placeholder, PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.references import Reference, Unresolved, document_id
from deployctl.templating.values import Unknown, lookup


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known when a pass is made; None: not in this pass, left for a later one."""

    environ: Mapping[str, str] | None = None
    outputs: Mapping[str, Json] | None = None
    """Outputs of build and push steps: by step id (a mapping each), and all of them flat."""
    references: Callable[[Reference], Json] | None = None
    """Gives the value of a block or variable or raises `Unresolved`; see `references.Library`."""


class Treatment(StrEnum):
    """What a pass does with a placeholder."""

    RESOLVE = "resolve"
    OFFER = "offer"
    """Resolve it if a step gave it, else keep it: the worker may know more."""
    KEEP = "keep"


Rule: TypeAlias = Callable[[JsonPath, PlaceholderKind], Treatment]
"""What to do with placeholders of a kind at a place."""


def resolve_all(path: JsonPath, kind: PlaceholderKind) -> Treatment:  # noqa: ARG001
    """The plain rule: every placeholder is resolved wherever it stands."""
    return Treatment.RESOLVE


def render(value: Json, scope: Scope, rule: Rule = resolve_all) -> tuple[Json, list[Problem]]:
    """`value` with all that `scope` knows filled in, and what it should have known but did not.

    A string that is one placeholder becomes the value with its type; elsewhere the value becomes
    text. Text with an `Unknown` in it becomes that `Unknown`. Keys of mappings are never templates.
    """
    pass_ = _Pass(scope, rule, [])
    return pass_.value(value, ()), pass_.problems


@dataclass(frozen=True, slots=True)
class _Pass:
    scope: Scope
    rule: Rule
    problems: list[Problem]

    def value(self, value: Json, path: JsonPath) -> Json:
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
        """The value of a placeholder, or the placeholder itself."""
        treatment = self.rule(path, kind)
        if treatment is Treatment.KEEP:
            return verbatim
        scope = self.scope
        if treatment is Treatment.OFFER:
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
        help_ = "name one value of it, as in '{{ prefect.blocks.type.name.key }}'"
        self.problems.append(_problem(path, Unresolved("DC305", message, help_)))


class _NotInThisPass(Exception):
    """The scope was given without the source that would know."""


def _environment(scope: Scope, name: str) -> Json:
    if scope.environ is None:
        raise _NotInThisPass
    if name not in scope.environ:
        raise Unresolved(
            "DC302",
            f"the environment variable '{name}' is not set",
            f"set {name} where deployctl runs, or write the value into the file",
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
    step, _, key = name.partition(".")
    given = scope.outputs.get(step)
    if isinstance(given, dict):
        raise Unresolved(
            "DC303",
            f"the step '{step}' gives no '{key or step}'",
            f"it gives {_listed(given)}",
        )
    raise Unresolved(
        "DC303",
        f"no step gives '{name}'",
        f"the steps give {_listed(scope.outputs)}" if scope.outputs else "no step runs before it",
    )


def _reference(kind: PlaceholderKind) -> Callable[[Scope, str], Json]:
    def resolve(scope: Scope, name: str) -> Json:
        if scope.references is None:
            raise _NotInThisPass
        return scope.references(Reference(kind, name))

    return resolve


def _left_for_the_worker(scope: Scope, name: str) -> Json:  # noqa: ARG001
    raise _NotInThisPass


_SOURCES: Mapping[PlaceholderKind, Callable[[Scope, str], Json]] = {
    PlaceholderKind.STEP: _output,
    PlaceholderKind.ENV: _environment,
    PlaceholderKind.VARIABLE: _reference(PlaceholderKind.VARIABLE),
    PlaceholderKind.BLOCK: _reference(PlaceholderKind.BLOCK),
    PlaceholderKind.DOCUMENT: _reference(PlaceholderKind.DOCUMENT),
    PlaceholderKind.CTX: _left_for_the_worker,
}


def _problem(path: JsonPath, reason: Unresolved) -> Problem:
    place = f"{format_path(path)}: " if path else ""
    return Problem(path, reason.code, f"{place}{reason.message}", reason.help)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
