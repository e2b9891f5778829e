"""The grammar of placeholders, and the kinds of values that they name.

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
CTX_PREFIX = "ctx."


class PlaceholderKind(StrEnum):
    """The source of the value of a placeholder."""

    STEP = "step"
    """A build or push step; the environment if no step has the output, as in Prefect."""
    ENV = "env"
    VARIABLE = "variable"
    BLOCK = "block"
    DOCUMENT = "document"
    """A block that a mapping `{"$ref": {"block_document_id": …}}` names, not text."""
    CTX = "ctx"
    """The flow run; known to the worker only."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{{ name }}` in a text, at `text[start:end]`."""

    name: str
    kind: PlaceholderKind
    start: int
    end: int

    @property
    def target(self) -> str:
        """The name without its prefix: `HOME` of `$HOME`, `x` of `prefect.variables.x`."""
        match self.kind:
            case PlaceholderKind.ENV:
                return self.name.lstrip("$")
            case PlaceholderKind.VARIABLE:
                return self.name.removeprefix(VARIABLE_PREFIX)
            case PlaceholderKind.BLOCK:
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


def malformed_placeholders(text: str) -> list[str]:
    """Texts that begin like a placeholder but are none: `{{ a | upper }}`, `{{ }}`, `{{ a`."""
    if "{{" not in text:
        return []
    return [found[0].rstrip() for found in _OPENED.finditer(_PLACEHOLDER.sub("…", text))]


def has_placeholder(value: Json) -> bool:
    """Whether a value is text with a placeholder."""
    return isinstance(value, str) and bool(placeholders(value))


def _kind(name: str) -> PlaceholderKind:
    if name.startswith("$"):
        return PlaceholderKind.ENV
    if name.startswith(BLOCK_PREFIX):
        return PlaceholderKind.BLOCK
    if name.startswith(VARIABLE_PREFIX):
        return PlaceholderKind.VARIABLE
    return PlaceholderKind.CTX if name.startswith(CTX_PREFIX) else PlaceholderKind.STEP


_SIMILAR = {
    "prefect.block.": BLOCK_PREFIX,
    "block.": BLOCK_PREFIX,
    "blocks.": BLOCK_PREFIX,
    "prefect.variable.": VARIABLE_PREFIX,
    "prefect.vars.": VARIABLE_PREFIX,
    "variable.": VARIABLE_PREFIX,
    "variables.": VARIABLE_PREFIX,
    "prefect.ctx.": CTX_PREFIX,
    "flow_run.": f"{CTX_PREFIX}flow_run.",
    "prefect.flow_run.": f"{CTX_PREFIX}flow_run.",
    "flow.": f"{CTX_PREFIX}flow.",
    "env.": "$",
    "prefect.env.": "$",
}
"""Wrong prefixes of names, and those of the placeholders that are meant."""


def similar_placeholder(name: str) -> str | None:
    """The name that was probably meant by one that no step provides."""
    for prefix, correct in _SIMILAR.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return f"{correct}{name.removeprefix(prefix)}"
    return None
