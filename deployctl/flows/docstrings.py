"""The descriptions of parameters in a docstring of Google style.

Prefect reads docstrings with griffe. This follows the same rules as far as they decide what a
parameter's description is: where a section begins and ends, and which of its lines belong together.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

_HEADING = re.compile(r"(?P<kind>\w[\s\w-]*):(\s+\S.*)?\s*")
_PARAMETERS = {"args", "arguments", "params", "parameters"}


def parameter_descriptions(docstring: str | None) -> dict[str, str]:
    """What the docstring says of each parameter, by name; of several sections the last counts."""
    found: dict[str, str] = {}
    if docstring is None or ":" not in docstring:
        return found
    lines = inspect.cleandoc(docstring.rstrip()).split("\n")
    position = 0
    fenced = False
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.lstrip(" ").startswith("```"):
            fenced = not fenced
        elif not fenced and (kind := _section(lines, position - 1)):
            block, position = _block(lines, position)
            if kind in _PARAMETERS:
                found = dict(_items(block))
    return found


def _section(lines: list[str], position: int) -> str | None:
    """The kind of the section whose heading stands here; None if none does.

    A heading has an empty line above it, and an indented one directly below.
    """
    heading = _HEADING.fullmatch(lines[position])
    above = lines[position - 1] if position else ""
    below = lines[position + 1] if position + 1 < len(lines) else ""
    if heading and not above.strip() and below.startswith(" ") and below.strip():
        return heading["kind"].lower()
    return None


def _block(lines: list[str], start: int) -> tuple[list[str], int]:
    """The lines from `start` that are indented as the first or more, and where they end."""
    indent = _indent(lines[start])
    end = start
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) >= indent):
        end += 1
    return lines[start:end], end


def _items(block: list[str]) -> Iterator[tuple[str, str]]:
    """Name and description of each parameter: lines that are indented further continue one."""
    indent = _indent(block[0])
    items: list[list[str]] = []
    for line in block:
        if line.strip() and _indent(line) == indent:
            items.append([line[indent:]])
        else:
            twice = line.startswith(2 * indent * " ")
            items[-1].append(line[2 * indent :] if twice else line.lstrip())
    for first, *more in items:
        name, colon, description = first.partition(":")
        if colon:
            if "(" in name and name.endswith(")"):
                name = name.partition("(")[0].strip()
            yield name, "\n".join([description.lstrip(), *more]).rstrip("\n")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
