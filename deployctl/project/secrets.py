"""Finds the secrets that a file holds in plain text, so that no excerpt of the file shows them.

Excerpts show lines as they are written, so both the value and the source text of a scalar are
secrets, and each line of a text with several lines. Names in a JSON Schema, such as that of a base
job template, only declare variables: the values below them are no secrets, except a `default`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deployctl.core.redact import NON_SECRET_NAMES, is_secret_name
from deployctl.project.compose import Node

_SCHEMA_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
_KEY = re.compile(r"""([\w.-]+)["']?:[ \t]+(?=(\S.*))""")
_WRAPPING = " \t\r\"',}]"


def secrets_below(node: Node, text: str) -> Iterator[str]:
    """The secret texts of a value with a secret name in the file `text`."""
    if node.parts:
        parts = node.parts
        if _is_schema(node):
            parts = {name: part for name, part in parts.items() if name == "default"}
        for name, part in parts.items():
            if name not in NON_SECRET_NAMES:
                yield from secrets_below(part, text)
    elif isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
        written = text[node.start.index : node.end.index]
        if "{{" not in written:
            for line in f"{node.text}\n{written}".splitlines():
                yield line.strip(_WRAPPING)


def secrets_in_text(text: str) -> Iterator[str]:
    """The values after secret names and a colon, line by line, for text that is not YAML."""
    for name, rest in _KEY.findall(text):
        if is_secret_name(name) and "{{" not in rest:
            yield rest.strip(_WRAPPING)


def _is_schema(node: Node) -> bool:
    kind = node.parts.get("type")
    named = kind is not None and isinstance(kind.value, str) and kind.value in _SCHEMA_TYPES
    return named or bool(node.parts.keys() & {"anyOf", "allOf", "$ref"})
