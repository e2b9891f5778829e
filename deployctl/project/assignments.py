"""`--set PATH=YAML`: single values of a file, given on the command line.

    --set deployments.daily.parameters.rows=10
    --set "deployments.'v1.daily'.schedules=[{cron: '0 6 * * *'}]"

A path goes through keys, names of items (deployments, work pools), and indexes of lists. The value
replaces what the file, or its environment, has there.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from deployctl.core.diagnostics import Report, Severity
from deployctl.core.errors import UsageError
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project import keys
from deployctl.project.compose import Node
from deployctl.project.document import Document, parse_document
from deployctl.project.entry_nodes import pool_by_name, without_alternative
from deployctl.project.nodes import child, in_mapping, in_sequence, set_option, text_of
from deployctl.project.shapes import Either, ListOf, Shape, Table

_PART = re.compile(r"""'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<plain>[^.='"]+)""")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One value and where it belongs."""

    option: str
    """The option without the value, for messages."""
    path: tuple[str, ...]
    value: Node


def parse_assignment(text: str, report: Report) -> Assignment:
    """Parses the value of `--set`; warnings about its YAML are reported. Raises UsageError."""
    path, end = _parse_path(text)
    option = f"--set {text[:end]}"
    found = Report()
    wrapped = "value:\n" + textwrap.indent(text[end + 1 :], "  ") + "\n"
    document = parse_document(wrapped, "--set", found)
    for each in found:
        if each.severity is Severity.ERROR or document is None:
            raise UsageError(f"{option}: {each.message}", help=each.help)
        report.add(each.code, f"{option}: {each.message}", severity=each.severity, help=each.help)
    assert document is not None
    value = document.root.parts["value"]
    set_option(value, option)
    return Assignment(option, path, value)


def _parse_path(text: str) -> tuple[tuple[str, ...], int]:
    """The parts of the path that a text begins with, and the position of the `=` after it."""
    parts, position = [], 0
    while found := _PART.match(text, position):
        parts.append(found["single"] or found["double"] or found["plain"] or "")
        position = found.end()
        if text[position : position + 1] == "=":
            return tuple(parts), position
        if text[position : position + 1] != ".":
            break
        position += 1
    raise UsageError(
        "--set needs PATH=YAML",
        help="Write it as in --set deployments.daily.tags='[a]'; quote names with dots: "
        "deployments.'v1.daily'.tags.",
    )


def apply_assignments(
    document: Document, assignments: Iterable[Assignment]
) -> tuple[Document, dict[str, UsageError]]:
    """The document with these values; option → the error if it names an item that isn't there.

    These are no errors if another file of the command has the item. Raises UsageError for a path
    that no file can have.
    """
    missing: dict[str, UsageError] = {}
    root = document.root
    for each in assignments:
        try:
            root = _Setter(each, document.file).set(root, keys.TOP_LEVEL, 0)
        except _NoSuchItem as error:
            missing[each.option] = error
    return document.with_root(root), missing


class _NoSuchItem(UsageError):
    """The path names an item that the file does not have."""


@dataclass(frozen=True, slots=True)
class _Setter:
    """Sets one value, from the root of a file down to its place."""

    assignment: Assignment
    file: str

    def set(self, node: Node, shape: Shape | None, depth: int) -> Node:
        """The node with the value at the rest of the path; `shape` is None where all is allowed."""
        path = self.assignment.path
        if depth == len(path):
            return self.assignment.value
        part = path[depth]
        shape = _form(shape, node)
        if isinstance(shape, ListOf) and not isinstance(node.value, dict):
            return self._item(node, shape, depth)
        if isinstance(shape, Table):
            self._check_key(part, shape)
        if isinstance(shape, ListOf) and part not in node.parts:
            self._no_item(_kind(shape), part, [str(name) for name in node.parts], depth)
        if isinstance(node.value, list):
            return self._at_index(node, None, depth)
        if node.value is not None and not isinstance(node.value, dict):
            self._fail(f"'{'.'.join(path[:depth])}' is no mapping, so it has no '{part}'")
        below = _shape_below(shape, part)
        found = child(node, part) or _nothing(self.assignment)
        if shape is keys.DEPLOYMENT:
            node = without_alternative(node, part)
            found = pool_by_name(node.parts).get(part, found)
        value = self.set(found, below, depth + 1)
        return in_mapping(node, {**node.parts, part: value})

    def _item(self, node: Node, shape: ListOf, depth: int) -> Node:
        """The list with the value in the items that the path names."""
        path, items = self.assignment.path, list(node.parts.values())
        part = path[depth]
        if not (isinstance(shape.item, Table) and "name" in shape.item.keys):
            return self._at_index(node, shape.item, depth)
        kind = _kind(shape)
        if depth + 1 == len(path):
            self._fail(f"the path ends with the name of the {kind}", "Add a key of it.")
        names = [text_of(child(item, "name")) for item in items]
        if part not in names:
            self._no_item(kind, part, [name for name in names if name], depth)
        return in_sequence(
            node,
            [
                self.set(item, shape.item, depth + 1) if name == part else item
                for item, name in zip(items, names, strict=True)
            ],
        )

    def _check_key(self, part: str, table: Table) -> None:
        if self.assignment.path[0] == "environments":
            help_ = "Set what it changes, as in deployments.NAME.KEY."
            self._fail("an environment is read before --set applies", help_)
        if part in table.keys:
            return
        kind = table.name.replace("_", " ")
        if part in table.moved:
            advice = table.moved[part].advice
            help_ = f"{advice[0].upper()}{advice[1:]}."
        else:
            help_ = did_you_mean(part, table.keys) or f"It has {quoted(table.keys)}."
        self._fail(f"'{part}' is not a key of this {kind}", help_)

    def _no_item(self, kind: str, part: str, names: Sequence[str], depth: int) -> NoReturn:
        rest = ".".join(self.assignment.path[depth:])
        dotted = [name for name in names if "." in name and f"{rest}.".startswith(f"{name}.")]
        help_ = did_you_mean(part, names) or f"It has {quoted(names) or 'none'}."
        if dotted:
            help_ = f"Quote a name with dots: {self.assignment.path[0]}.'{dotted[0]}'."
        raise _NoSuchItem(
            f"{self.assignment.option}: {self.file} has no {kind} '{part}'", help=help_
        )

    def _at_index(self, node: Node, shape: Shape | None, depth: int) -> Node:
        """The list with the value in the item with the index that the path has here."""
        part, items = self.assignment.path[depth], list(node.parts.values())
        if not part.isdecimal() or int(part) >= len(items):
            here = ".".join(self.assignment.path[:depth])
            self._fail(
                f"the list '{here}' has no item '{part}'",
                f"Write an index from 0 to {len(items) - 1}, or set the whole list."
                if items
                else "Set the whole list.",
            )
        items[int(part)] = self.set(items[int(part)], shape, depth + 1)
        return in_sequence(node, items)

    def _fail(self, message: str, help_: str | None = None) -> NoReturn:
        raise UsageError(f"{self.assignment.option}: {message}", help=help_)


def _form(shape: Shape | None, node: Node) -> Shape | None:
    """The form of a shape that the value has, or can have."""
    if isinstance(shape, Either):
        if isinstance(node.value, list):
            return shape.many
        return shape.mapping or shape.many
    return shape if isinstance(shape, Table | ListOf) else None


def _kind(shape: ListOf) -> str:
    """What messages call an item of a list."""
    return shape.item.name if isinstance(shape.item, Table) else "item"


def _shape_below(shape: Shape | None, part: str) -> Shape | None:
    if isinstance(shape, Table):
        return shape.keys[part].shape
    return shape.item if isinstance(shape, ListOf) else None


def _nothing(assignment: Assignment) -> Node:
    """The value of a key that is not there."""
    return replace(assignment.value, value=None, text=None, parts={}, keys={}, size=1)
