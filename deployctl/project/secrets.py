"""Finds the secrets that a file holds in plain text, so that no excerpt of it shows them.

A line of source is shown as it is written, so both what a scalar means and how it is written is
remembered, and of a text of many lines each line. Names in a JSON Schema, as a work pool's template
holds one, only declare variables: what stands below them is no secret, but a default may be.
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
    """What must not be shown of a value that stands under a secret name in the file `text`."""
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
    """What stands behind a secret name and a colon, line by line: for text that is not YAML."""
    for name, rest in _KEY.findall(text):
        if is_secret_name(name) and "{{" not in rest:
            yield rest.strip(_WRAPPING)


def _is_schema(node: Node) -> bool:
    kind = node.parts.get("type")
    named = kind is not None and isinstance(kind.value, str) and kind.value in _SCHEMA_TYPES
    return named or bool(node.parts.keys() & {"anyOf", "allOf", "$ref"})
