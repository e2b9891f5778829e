"""Where values, keys and comments stand in the text of a file, and how to cut and insert them.

All offsets count characters of `Document.text`. A function that returns None cannot handle the
layout of the file there, such as a key that a merge (`<<`) brings from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from deployctl.core.json_values import JsonPath
from deployctl.project.compose import Node
from deployctl.project.document import Document

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")
"""An anchor and a tag in front of a value."""
_ALIAS_VALUE = re.compile(r"\s*:\s*\*[^\s,\]}]+")
_COMMENT = re.compile(r"(?:^|\s)#", re.MULTILINE)
_BEFORE_VALUE = re.compile(r"\s*(?:- +)*(?:[^\s{\[][^{\[]*:\s+)?")
"""What stands in a line before a value that ends with the line."""
_TEMPLATE = re.compile(r"\{\{.*?\}\}")


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces the text from `start` to `end`, exclusive."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A key with its value and its comments, as whole lines."""

    start: int
    end: int
    """The offset behind the text that moving the block removes."""
    lines: tuple[str, ...]
    """Its lines without the indentation of the key."""
    key_line: int
    """Which of them holds the key; those before are comments."""


def quote(text: str) -> str:
    """A text of one line as a quoted scalar of YAML."""
    if '"' in text or "\\" in text:
        return "'" + text.replace("'", "''") + "'"
    return f'"{text}"'


def quote_at(text: str, offset: int) -> Edit | None:
    """Quotes the rest of the line from `offset`, without a comment; in brackets, one template."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    rest = text[offset:].partition("\n")[0]
    if _BEFORE_VALUE.fullmatch(line):
        content = rest[: found.start()] if (found := _COMMENT.search(rest)) else rest
    elif found := _TEMPLATE.match(rest):
        content = found[0]
    else:
        return None
    content = content.rstrip()
    return Edit(offset, offset + len(content), quote(content)) if content else None


def indented(lines: Sequence[str], width: int) -> list[str]:
    """The lines with an indentation; empty lines stay empty."""
    return [f"{' ' * width}{line}" if line else "" for line in lines]


class Layout:
    """The text of a document and the positions of its nodes."""

    def __init__(self, document: Document) -> None:
        self.text = document.text
        self.root = document.root
        self.newline = "\r\n" if "\r\n" in document.text else "\n"

    def column(self, offset: int) -> int:
        """The number of characters before `offset` in its line."""
        return offset - self._line_start(offset)

    def line_end(self, offset: int) -> int:
        """The offset of the line break behind `offset`, or of the end of the text."""
        found = self.text.find("\n", offset)
        end = len(self.text) if found < 0 else found
        return end - 1 if end > offset and self.text[end - 1] == "\r" else end

    def is_flow(self, node: Node) -> bool:
        """Whether a mapping or list is written in brackets."""
        return self.text[self.value_start(node)] in "{["

    def value_start(self, node: Node) -> int:
        """Where the value of a node begins, behind its anchor and tag."""
        found = _PROPERTIES.match(self.text, node.start.index, node.end.index)
        return found.end() if found else int(node.start.index)

    def end(self, node: Node) -> int:
        """Where the text of a node ends, without comments and empty lines that follow."""
        text = self.text[node.start.index : node.end.index]
        if isinstance(node.value, dict | list) and not self.is_flow(node):
            lines = text.splitlines(keepends=True)
            while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
                lines.pop()
            text = "".join(lines)
        return int(node.start.index) + len(text.rstrip())

    def entry(self, parent: Node, name: str | int) -> tuple[int, int] | None:
        """Where a key begins and its value ends; None for a key from elsewhere."""
        key = parent.keys.get(str(name))
        if key is None or not contains(parent, key):
            return None
        start, end = key.start.index, key.end.index
        value = parent.parts[name]
        if value.start.index >= end and contains(parent, value):
            return start, max(end, self.end(value))
        found = _ALIAS_VALUE.match(self.text, end)
        return (start, found.end()) if found else None

    def removal(self, path: JsonPath) -> Edit | None:
        """Removes a key or an item of a list whose text has no comment.

        A comment behind it stays in its line.
        """
        parent, name = self.root.find(path[:-1]), path[-1]
        if parent is None or self.is_flow(parent):
            return None
        found = self.entry(parent, name) if isinstance(name, str) else self._item(parent, name)
        if found is None:
            return None
        start, end = found
        line_end = self.line_end(end)
        rest = self.text[end:line_end].strip()
        if _COMMENT.search(self.text[start:end]) or (rest and not rest.startswith("#")):
            return None
        if rest:
            return Edit(start, self.text.index("#", end))
        if not self.text[self._line_start(start) : start].strip():
            return Edit(self._line_start(start), self._next_line(end))
        following = self._following(parent, start)
        return Edit(start, end if following is None else following)

    def block(self, parent: Node, name: str) -> Block | None:
        """A key of a block mapping with its value, its comments and those directly above."""
        found = self.entry(parent, name)
        if found is None or self.is_flow(parent):
            return None
        start, end = found
        column, line_end = self.column(start), self.line_end(end)
        own_lines = not self.text[start - column : start].strip()
        rest = self.text[end:line_end].strip()
        following = self._following(parent, start)
        if (rest and not rest.startswith("#")) or (not own_lines and following is None):
            return None
        begin, key_line = start, 0
        while own_lines and self._is_comment(begin - column - 1, column):
            begin, key_line = self._line_start(begin - column - 1) + column, key_line + 1
        if own_lines:
            line_end = self._with_comments(line_end, column)
        lines = [line.rstrip("\r") for line in self.text[begin:line_end].split("\n")]
        if any(line[:column].strip() for line in lines[1:]):
            return None
        lines = [lines[0], *(line[column:] for line in lines[1:])]
        if own_lines:
            return Block(begin - column, self._next_line(line_end), tuple(lines), key_line)
        return Block(start, following or end, tuple(lines), key_line)

    def opened(self, parent: Node, name: str, more: Sequence[str]) -> Edit | None:
        """Rewrites a mapping in brackets of one line as a block, with further lines."""
        node, key = parent.parts[name], parent.keys[name]
        start, end = node.start.index, node.end.index
        line_end = self.line_end(end)
        rest = self.text[end:line_end].strip()
        ranges = [self.entry(node, each) for each in node.keys]
        if (
            self.is_flow(parent)
            or self.value_start(node) != start
            or "\n" in self.text[start:end]
            or (rest and not rest.startswith("#"))
        ):
            return None
        entries = [self.text[each[0] : each[1]] for each in ranges if each]
        lines = indented([*entries, *more], self.column(key.start.index) + 2)
        before = len(self.text[:start].rstrip(" "))
        return Edit(before, line_end, self.newline.join([f"  {rest}" if rest else "", *lines]))

    def _item(self, parent: Node, index: int) -> tuple[int, int] | None:
        """Where the dash of an item begins and the item ends, if the dash begins its line."""
        node = parent.parts[index]
        if not contains(parent, node):
            return None
        start = self._line_start(node.start.index)
        before = self.text[start : node.start.index]
        dash = start + len(before) - len(before.lstrip())
        return (dash, max(dash + 1, self.end(node))) if before.strip() == "-" else None

    def _following(self, parent: Node, start: int) -> int | None:
        """Where the next key of a mapping begins, if there are only empty lines before it."""
        later = [
            key.start.index
            for key in parent.keys.values()
            if contains(parent, key) and key.start.index > start
        ]
        if not later:
            return None
        own = next(name for name, key in parent.keys.items() if key.start.index == start)
        found = self.entry(parent, own)
        following = int(min(later))
        rest = self.text[self.line_end(found[1]) : following] if found else "?"
        return None if rest.strip() else following

    def _is_comment(self, offset: int, column: int) -> bool:
        """Whether the line that ends at `offset` is a comment that begins in a column."""
        line = self.text[self._line_start(offset) : offset] if offset > 0 else ""
        return line.startswith(f"{' ' * column}#")

    def _with_comments(self, line_end: int, column: int) -> int:
        """The end of the line, or of the last comment below it that is indented by more."""
        start = self._next_line(line_end)
        following = self.text[start : self.line_end(start)]
        if following.startswith(" " * (column + 1)) and following.lstrip().startswith("#"):
            return self._with_comments(start + len(following), column)
        return line_end

    def _line_start(self, offset: int) -> int:
        return self.text.rfind("\n", 0, offset) + 1

    def _next_line(self, offset: int) -> int:
        found = self.text.find("\n", offset)
        return len(self.text) if found < 0 else found + 1


def contains(parent: Node, child: Node) -> bool:
    """Whether a node is written within another, not repeated there by an alias or a merge."""
    return bool(parent.start.index <= child.start.index and child.end.index <= parent.end.index)
