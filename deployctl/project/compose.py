"""From the events of a YAML file to values with their marks, in one walk.

What Prefect's parser would drop or refuse is told on the way, and gets a value that later checks
can go on with. Aliases and merge keys share the nodes of their anchor, and so their places.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployctl.core.diagnostics import Report, Span
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.redact import is_secret_name
from deployctl.project.scalars import resolve

MAX_DEPTH = 100
MAX_VALUES = 5_000_000
"""More than a file of this project's purpose holds, and less than aliases of aliases can make."""

QUOTE_IT = 'quote the template: "{{ name }}"'


@dataclass(slots=True, eq=False)
class Node:
    """One value with the marks where it begins and ends, and its parts."""

    value: Json
    start: Any
    end: Any
    text: str | None = None
    """What a scalar says before it is resolved."""
    parts: Mapping[str | int, Node] = field(default_factory=dict)
    keys: Mapping[str, Node] = field(default_factory=dict)
    size: int = 1
    """How many values it is, counting what aliases repeat."""

    def find(self, path: JsonPath) -> Node | None:
        """The node at `path` below this one."""
        node: Node | None = self
        for part in path:
            node = node.parts.get(part) if node else None
        return node

    def walk(self, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Node]]:
        """This node and all below it, with their paths."""
        yield path, self
        for part, node in self.parts.items():
            yield from node.walk((*path, part))


def span_between(file: str, start: Any, end: Any) -> Span:
    """The span from one mark of the parser to another."""
    return Span(file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


class Unusable(Exception):
    """What was found cannot be built on; it has been reported."""


class Composer:
    """One walk over the events of a file."""

    def __init__(self, events: Iterator[Any], text: str, name: str, report: Report) -> None:
        self._next: Callable[[], Any] = events.__next__
        self.text = text
        self.name = name
        self.report = report
        self.anchors: dict[str, Node | None] = {}
        self.secret: list[Node] = []
        """What stands under a secret name, also where a later key of the same name replaces it."""

    def document(self) -> Node | None:
        """The value of the file's one document, None if there is none."""
        from ruamel.yaml import events

        self._next()
        if isinstance(self._next(), events.StreamEndEvent):
            return None
        root = self._value(self._next(), 0)
        self._next()
        following = self._next()
        if not isinstance(following, events.StreamEndEvent):
            self._error(
                "DC110",
                "the file holds more than one YAML document",
                following,
                "keep one document per file, and name several files with --prefect-file",
            )
        return root

    def _value(self, event: Any, depth: int) -> Node:
        """The value that begins with this event."""
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self._alias(event)
        if event.anchor:
            self._anchor(event)
        if depth > MAX_DEPTH:
            self._error("DC113", f"values are nested more than {MAX_DEPTH} deep", event)
            raise Unusable
        if kind == "ScalarEvent":
            node = self._scalar(event)
        elif kind == "MappingStartEvent":
            node = self._mapping(event, depth)
        else:
            node = self._sequence(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        if node.size > MAX_VALUES:
            self._error("DC113", f"its aliases make more than {MAX_VALUES:,} values", event)
            raise Unusable
        return node

    def _anchor(self, event: Any) -> None:
        if event.anchor in self.anchors:
            self.report.warning(
                "DC106",
                f"the anchor '&{event.anchor}' is set twice, which Prefect refuses",
                span_between(self.name, event.start_mark, event.end_mark),
                help="aliases below repeat the second; give it another name",
            )
        self.anchors[event.anchor] = None

    def _alias(self, event: Any) -> Node:
        if (node := self.anchors.get(event.anchor)) is not None:
            return node
        if event.anchor in self.anchors:
            message = f"'*{event.anchor}' stands inside the value that it repeats"
        else:
            message = f"'*{event.anchor}' repeats an anchor '&{event.anchor}' that nobody set"
        help_ = (
            "an anchor must be complete before an alias repeats it; quote text that begins with *"
        )
        self._error("DC106", message, event, help_)
        return Node(None, event.start_mark, event.end_mark)

    def _scalar(self, event: Any) -> Node:
        text = event.value
        if event.tag is not None:
            value = self._tagged(event)
        else:
            value = resolve(text) if event.implicit[0] else text
        if isinstance(value, float) and not math.isfinite(value):
            self._error(
                "DC112", f"'{text}' is a number that cannot be sent", event, "quote it to mean text"
            )
            value = text
        return Node(value, event.start_mark, event.end_mark, text)

    def _tagged(self, event: Any) -> Json:
        text, tag = event.value, event.tag
        if tag == "!":
            return text
        expected = _SCALAR_TAGS.get(tag.removeprefix("tag:yaml.org,2002:"))
        if expected is str:
            return text
        value = resolve(text)
        if expected is None or not isinstance(value, expected):
            self._refuse_tag(event)
        return float(value) if expected == (int, float) else value

    def _sequence(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:seq"):
            self._refuse_tag(event)
        nodes: list[Node] = []
        while type(item := self._next()).__name__ != "SequenceEndEvent":
            nodes.append(self._value(item, depth + 1))
        return Node(
            [node.value for node in nodes],
            event.start_mark,
            item.end_mark,
            parts=dict(enumerate(nodes)),
            size=1 + sum(node.size for node in nodes),
        )

    def _mapping(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:map"):
            self._refuse_tag(event)
        own: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        merged: list[Node] = []
        unquoted = False
        while type(first := self._next()).__name__ != "MappingEndEvent":
            key = self._value(first, depth + 1)
            value = self._value(self._next(), depth + 1)
            if key.text == "<<" and type(first).__name__ == "ScalarEvent" and first.implicit[0]:
                merged += self._merge_sources(value)
                continue
            if isinstance(key.value, dict | list):
                unquoted = True
                self._error("DC104", "a key cannot be a mapping or a list", key, QUOTE_IT)
                continue
            name = self._key(key)
            if name in own:
                self._duplicate(name, keys[name], key)
            own[name], keys[name] = value, key
            if is_secret_name(name):
                self.secret.append(value)
        if unquoted:
            written = self.text[event.start_mark.index : first.end_mark.index]
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
        """The mappings that a `<<` names, those that win last."""
        sources = list(node.parts.values())[::-1] if isinstance(node.value, list) else [node]
        if all(isinstance(source.value, dict) for source in sources):
            return sources
        self._error(
            "DC106",
            "'<<' merges mappings, and this is none",
            node,
            "write '<<: *anchor' or '<<: [*one, *other]'",
        )
        return []

    def _key(self, node: Node) -> str:
        """A key as JSON has it: text."""
        if isinstance(node.value, str):
            return node.value
        text = "None" if node.value is None else json.dumps(node.value)
        if text != node.text:
            self.report.warning(
                "DC111",
                f"the key '{node.text}' is read as {text}, as YAML 1.1 has it",
                span_between(self.name, node.start, node.end),
                help=f'quote it: "{node.text}"',
            )
        return text

    def _duplicate(self, name: str, first: Node, second: Node) -> None:
        self.report.error(
            "DC105",
            f"the key '{name}' is given twice",
            span_between(self.name, second.start, second.end),
            help="keep one; Prefect takes the last and says nothing",
            related=[(span_between(self.name, first.start, first.end), "first given here")],
        )

    def _refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._error(
            "DC107",
            f"the tag '{tag}' has no meaning here",
            event,
            "write the value without a tag; quote text that begins with !",
        )

    def _error(self, code: str, message: str, place: Any, help_: str | None = None) -> None:
        start = place.start if isinstance(place, Node) else place.start_mark
        end = place.end if isinstance(place, Node) else place.end_mark
        self.report.error(code, message, span_between(self.name, start, end), help=help_)


_SCALAR_TAGS: Mapping[str, Any] = {
    "str": str,
    "timestamp": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
    "null": type(None),
}


def _merge(
    sources: list[Node], own: dict[str, Node], keys: dict[str, Node]
) -> tuple[dict[str, Node], dict[str, Node]]:
    """What a mapping has after `<<`: later sources win over earlier ones, its own keys over all."""
    parts: dict[str, Node] = {}
    names: dict[str, Node] = {}
    for source in sources:
        parts |= source.parts  # type: ignore[arg-type]
        names |= source.keys
    return {**parts, **own}, {**names, **keys}
