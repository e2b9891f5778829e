"""Which text is a placeholder, and what kind of value it asks for.

The grammar is Prefect's: two braces around one name of letters, digits and `_ . - [ ] $`. There
are no filters, defaults or expressions; text that only looks like a placeholder stays as it is,
which is why `malformed` finds it for a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from deployctl.core.json_values import Json

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.\-\[\]$]+)\s*\}\}")
_OPENED = re.compile(r"\{\{.*?(?:\}\}|$)", re.DOTALL)

BLOCK_PREFIX = "prefect.blocks."
VARIABLE_PREFIX = "prefect.variables."


class Kind(StrEnum):
    """Who knows the value of a placeholder."""

    STEP = "step"
    """A build or push step; failing that, for Prefect's sake, the environment."""
    ENV = "env"
    VARIABLE = "variable"
    BLOCK = "block"
    DOCUMENT = "document"
    """A block again, but named by a mapping `{"$ref": {"block_document_id": …}}`, not by text."""
    CTX = "ctx"
    """The flow run: only the worker knows it."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{{ name }}` in a text, at `text[start:end]`."""

    name: str
    kind: Kind
    start: int
    end: int

    @property
    def target(self) -> str:
        """The name without what marks its kind: `HOME` of `$HOME`, `x` of `prefect.variables.x`."""
        match self.kind:
            case Kind.ENV:
                return self.name.lstrip("$")
            case Kind.VARIABLE:
                return self.name.removeprefix(VARIABLE_PREFIX)
            case Kind.BLOCK:
                return self.name.removeprefix(BLOCK_PREFIX)
        return self.name

    def __str__(self) -> str:
        return f"{{{{ {self.name} }}}}"


def placeholders(text: str) -> list[Placeholder]:
    """The placeholders of a text, from left to right."""
    if "{{" not in text:
        return []
    return [
        Placeholder(found[1], _kind(found[1]), *found.span())
        for found in _PLACEHOLDER.finditer(text)
    ]


def malformed(text: str) -> list[str]:
    """What begins like a placeholder and is none: `{{ a | upper }}`, `{{ }}`, `{{ a`."""
    if "{{" not in text:
        return []
    return [found[0].rstrip() for found in _OPENED.finditer(_PLACEHOLDER.sub("…", text))]


def is_opaque(value: Json) -> bool:
    """Whether a value is text with a placeholder, so that nothing can be said of it yet."""
    return isinstance(value, str) and bool(placeholders(value))


def _kind(name: str) -> Kind:
    if name.startswith("$"):
        return Kind.ENV
    if name.startswith(BLOCK_PREFIX):
        return Kind.BLOCK
    if name.startswith(VARIABLE_PREFIX):
        return Kind.VARIABLE
    return Kind.CTX if name.startswith("ctx.") else Kind.STEP
