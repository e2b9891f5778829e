"""Composes the events of a YAML parser into a tree of JSON values and their positions.

What Prefect's parser would drop or refuse becomes a diagnostic, and gets a value that later checks
can continue with. Aliases and merge keys share the nodes of their anchor, and so its positions.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployctl.core.diagnostics import Report, Severity, Span
from deployctl.core.fix import Fix, QuoteAt, QuoteKey, RemoveDuplicate
from deployctl.core.json_values import Json, JsonPath, same_json
from deployctl.core.redact import is_secret_name
from deployctl.project.scalars import TAG_PREFIX, construct_scalar, resolve_plain

MAX_DEPTH = 100
MAX_VALUES = 5_000_000
"""Far more than a prefect.yaml holds, and far less than nested aliases can make ("billion laughs").
"""

QUOTE_TEMPLATE = 'Quote the template: "{{ name }}".'


@dataclass(slots=True, eq=False)
class Node:
    """One value of the file, its position and its children."""

    value: Json
    start: Any
    """The parser's mark: `index`, `line` and `column`, all from 0."""
    end: Any
    text: str | None = None
    """The text of a scalar before it is resolved: `1.10`."""
    parts: Mapping[str | int, Node] = field(default_factory=dict)
    """The children, by key or index."""
    keys: Mapping[str, Node] = field(default_factory=dict)
    """The nodes of a mapping's keys."""
    size: int = 1
    """The number of values in it, with everything that aliases repeat."""
    file: str = ""
    """The file that it comes from, if that is not the document's; the option, without `start`."""

    def find(self, path: JsonPath) -> Node | None:
        """The node at `path` below this one."""
        node: Node | None = self
        for part in path:
            node = node.parts.get(part) if node else None
        return node

    def walk(self, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Node]]:
        """This node and all nodes below it, with their paths."""
        yield path, self
        for part, node in self.parts.items():
            yield from node.walk((*path, part))


def span_between(file: str, start: Any, end: Any) -> Span:
    """The span between two marks of the parser."""
    return Span(file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


class UnusableDocument(Exception):
    """The document cannot be composed; the reason is in the report."""


class Composer:
    """Composes one document from the events of PyYAML.

    `next_event` returns the next event and raises `yaml.YAMLError` at a syntax error.
    """

    def __init__(self, next_event: Callable[[], Any], text: str, file: str, report: Report) -> None:
        import yaml

        self._next = next_event
        self._text = text
        self._file = file
        self._report = report
        self._anchors: dict[str, Node | None] = {}
        """By name; None while the anchored value is being composed."""
        self._scalar_event: Any = yaml.ScalarEvent
        self._mapping_event: Any = yaml.MappingStartEvent
        self._mapping_end: Any = yaml.MappingEndEvent
        self._sequence_end: Any = yaml.SequenceEndEvent
        self._alias_event: Any = yaml.AliasEvent
        self._stream_end: Any = yaml.StreamEndEvent
        self.secret_nodes: list[Node] = []
        """Values of keys with a secret name, also those that a duplicate key replaces."""

    def compose_document(self) -> Node | None:
        """The root of the file's one document; None for a file without one."""
        self._next()
        if isinstance(self._next(), self._stream_end):
            return None
        root = self._node(self._next(), 0)
        self._next()
        following = self._next()
        if not isinstance(following, self._stream_end):
            self._error(
                "DC110",
                "the file holds more than one YAML document",
                following,
                "Keep one document per file, and name several files with --prefect-file.",
            )
        return root

    def _node(self, event: Any, depth: int) -> Node:
        """The node that begins with this event."""
        kind = type(event)
        if kind is self._alias_event:
            return self._alias(event)
        if event.anchor:
            self._begin_anchor(event)
        if depth > MAX_DEPTH:
            self._error("DC113", f"values are nested more than {MAX_DEPTH} deep", event)
            raise UnusableDocument
        if kind is self._scalar_event:
            node = self._scalar(event)
        elif kind is self._mapping_event:
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        if node.size > MAX_VALUES:
            self._error("DC113", f"aliases expand to more than {MAX_VALUES:,} values", event)
            raise UnusableDocument
        return node

    def _begin_anchor(self, event: Any) -> None:
        if event.anchor in self._anchors:
            self._report.add(
                "DC106",
                f"the anchor '&{event.anchor}' is set twice, which Prefect refuses",
                span_between(self._file, event.start_mark, event.end_mark),
                help="Give it another name; aliases below this line repeat the second value.",
                severity=Severity.WARNING,
            )
        self._anchors[event.anchor] = None

    def _alias(self, event: Any) -> Node:
        if (node := self._anchors.get(event.anchor)) is not None:
            return node
        if event.anchor in self._anchors:
            message = f"the alias '*{event.anchor}' is inside the value that it repeats"
        else:
            message = f"the alias '*{event.anchor}' has no anchor '&{event.anchor}' above it"
        help_ = "Set the anchor in a complete value above the alias; quote text that begins with *."
        self._error("DC106", message, event, help_)
        return Node(None, event.start_mark, event.end_mark)

    def _scalar(self, event: Any) -> Node:
        text = event.value
        if event.tag is not None:
            value = self._tagged_scalar(event)
        else:
            value = resolve_plain(text) if event.implicit[0] else text
        if isinstance(value, float) and not math.isfinite(value):
            message = f"the number '{text}' cannot be sent to the server"
            self._error("DC112", message, event, "Quote it if text is meant.")
            value = text
        return Node(value, event.start_mark, event.end_mark, text)

    def _tagged_scalar(self, event: Any) -> Json:
        if event.tag == "!":
            return event.value
        try:
            return construct_scalar(event.tag, event.value)
        except ValueError:
            self._refuse_tag(event)
            return resolve_plain(event.value)

    def _sequence(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", f"{TAG_PREFIX}seq"):
            self._refuse_tag(event)
        nodes: list[Node] = []
        while type(item := self._next()) is not self._sequence_end:
            nodes.append(self._node(item, depth + 1))
        return Node(
            [node.value for node in nodes],
            event.start_mark,
            item.end_mark,
            parts=dict(enumerate(nodes)),
            size=1 + sum(node.size for node in nodes),
        )

    def _mapping(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", f"{TAG_PREFIX}map"):
            self._refuse_tag(event)
        own: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        merged: list[Node] = []
        unquoted = False
        while type(first := self._next()) is not self._mapping_end:
            key = self._node(first, depth + 1)
            value = self._node(self._next(), depth + 1)
            if key.text == "<<" and type(first) is self._scalar_event and first.implicit[0]:
                merged += self._merge_sources(value)
                continue
            if isinstance(key.value, dict | list):
                unquoted = True
                message = "a key cannot be a mapping or a list"
                fix = QuoteAt(event.start_mark.index)
                self._error("DC104", message, key, QUOTE_TEMPLATE, fix)
                continue
            name = self._key(key)
            if name in own:
                same = keys[name].text == key.text and same_json(own[name].value, value.value)
                self._report_duplicate(name, keys[name], key, same=same)
            own[name], keys[name] = value, key
            if is_secret_name(name):
                self.secret_nodes.append(value)
        if unquoted:
            written = self._text[event.start_mark.index : first.end_mark.index]
            return Node(written, event.start_mark, first.end_mark, written)
        if merged:
            own, keys = _merge(merged, own, keys)
        return Node(
            {name: node.value for name, node in own.items()},
            event.start_mark,
            first.end_mark,
            parts=own,  # type: ignore[arg-type]
            keys=keys,
            size=1 + sum(node.size for node in own.values()),
        )

    def _merge_sources(self, node: Node) -> list[Node]:
        """The mappings that a `<<` names, in the order in which they override each other."""
        sources = list(node.parts.values())[::-1] if isinstance(node.value, list) else [node]
        if all(isinstance(source.value, dict) for source in sources):
            return sources
        self._error(
            "DC106",
            "'<<' can merge only mappings",
            node,
            "Write '<<: *anchor' or '<<: [*one, *other]'.",
        )
        return []

    def _key(self, node: Node) -> str:
        """The key as JSON has it: text."""
        if isinstance(node.value, str):
            return node.value
        text = "None" if node.value is None else json.dumps(node.value)
        if text != node.text:
            self._report.add(
                "DC111",
                f"the key '{node.text}' is read as {text}, as in YAML 1.1",
                span_between(self._file, node.start, node.end),
                help=f'Quote it: "{node.text}".',
                fix=QuoteKey(node.start.index),
            )
        return text

    def _report_duplicate(self, name: str, first: Node, second: Node, *, same: bool) -> None:
        self._report.add(
            "DC105",
            f"the key '{name}' is given twice",
            span_between(self._file, second.start, second.end),
            help="Keep one of them; Prefect silently takes the last.",
            related=[(span_between(self._file, first.start, first.end), "first given here")],
            fix=RemoveDuplicate(second.start.index) if same else None,
        )

    def _refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace(TAG_PREFIX, "!!")
        self._error(
            "DC107",
            f"the tag '{tag}' is not supported here",
            event,
            "Write the value without a tag; quote text that begins with '!'.",
        )

    def _error(
        self, code: str, message: str, at: Any, help_: str | None = None, fix: Fix | None = None
    ) -> None:
        """Reports an error at a node or an event."""
        start = at.start if isinstance(at, Node) else at.start_mark
        end = at.end if isinstance(at, Node) else at.end_mark
        self._report.add(code, message, span_between(self._file, start, end), help=help_, fix=fix)


def _merge(
    sources: list[Node], own: dict[str, Node], keys: dict[str, Node]
) -> tuple[dict[str, Node], dict[str, Node]]:
    """Values and keys of a mapping with `<<`: later sources override earlier, its own keys all."""
    parts: dict[str, Node] = {}
    names: dict[str, Node] = {}
    for source in sources:
        parts |= source.parts  # type: ignore[arg-type]
        names |= source.keys
    return {**parts, **own}, {**names, **keys}
