"""A YAML file as values, and for every value the place where it is written.

ruamel.yaml tells the events of the file (a mapping begins, a scalar, …); one walk over them makes
the values, finds what Prefect's parser would drop or refuse, and keeps a tree of places beside the
values. A `Span` is made only when somebody asks for it: most files have nothing wrong.

Aliases and merge keys share the values of their anchor, and their places: what is merged stands
where it was written. Tags other than YAML's own simple ones are refused.
"""

from __future__ import annotations

import gc
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from deployctl.core.diagnostics import Report, Span, Spans
from deployctl.core.values import Json, Path
from deployctl.project.scalars import resolve

MAX_DEPTH = 100
MAX_VALUES = 5_000_000
"""More than a file of this project's purpose holds, and less than aliases of aliases can make."""

_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\-\[,{])\s*\{\{")
_QUOTE_IT = 'quote the template: "{{ name }}"'


@dataclass(frozen=True, slots=True)
class Document:
    """A file that could be read: its text, its values, their places."""

    file: str
    """As the user named it; it stands in every span."""
    text: str
    data: Json
    spans: Spans
    root: Node

    def source(self, path: Path) -> str | None:
        """The text of the scalar at `path` as it is written (`1.10`), None for anything else."""
        node = self.root.find(path)
        return node.text if node else None


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

    def find(self, path: Path) -> Node | None:
        """The node at `path` below this one."""
        node: Node | None = self
        for part in path:
            node = node.parts.get(part) if node else None
        return node

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """This node and all below it, with their paths."""
        yield path, self
        for part, node in self.parts.items():
            yield from node.walk((*path, part))


def read_document(path: FilePath, report: Report) -> Document | None:
    """Reads and parses a file; None if that is impossible, with the reason in `report`."""
    name = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        report.error(
            "DC100",
            f"there is no file '{name}'",
            help="create it, or name another one with --prefect-file",
        )
        return None
    except IsADirectoryError:
        report.error("DC101", f"'{name}' is a folder", help=f"try '{path / 'prefect.yaml'}'")
        return None
    except OSError as error:
        report.error("DC101", f"'{name}' cannot be read: {error.strerror}")
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        report.error(
            "DC102",
            f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8",
            _span_at(name, before, len(before)),
            help="save the file as UTF-8",
        )
        return None
    return parse_document(text, name, report)


def parse_document(text: str, name: str, report: Report) -> Document | None:
    """The values of a text, which messages call `name`; None if it is no mapping in YAML.

    Whatever is wrong short of that is told and gets a value that later checks can go on with.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    text = text.removeprefix("\ufeff")
    try:
        with _collector_at_rest():
            root = _Builder(yaml.parse(text), text, name, report).document()
    except ReaderError as error:
        # Its positions are those of the reader's buffer; the text is all in one.
        place = _span_at(name, text, error.position)
        report.error(
            "DC103",
            f"the character U+{ord(text[error.position]):04X} is not allowed in YAML",
            place,
        )
        return None
    except MarkedYAMLError as error:
        _not_yaml(error, text, name, report)
        return None
    except _Unusable:
        return None
    if root is None or root.value is None:
        report.error("DC108", "the file is empty", help="`deployctl init` writes a first one")
        return None
    if not isinstance(root.value, dict):
        report.error(
            "DC109",
            f"the file is {_KINDS.get(type(root.value), 'a single value')}, not a mapping of keys",
            _span(name, root.start, root.end),
            help="it should begin with a key, such as 'deployments:'",
        )
        return None
    places = _Places(root, name)
    return Document(name, text, root.value, Spans(places, _KeyPlaces(root, name)), root)


_KINDS: dict[type, str] = {list: "a list", str: "a single text"}


class _Places(Mapping[Path, Span]):
    """Spans of values, made when asked for."""

    def __init__(self, root: Node, file: str) -> None:
        self._root = root
        self._file = file

    def __getitem__(self, path: Path) -> Span:
        node = self._node(path)
        if node is None:
            raise KeyError(path)
        return _span(self._file, node.start, node.end)

    def __iter__(self) -> Iterator[Path]:
        return (path for path, _ in self._root.walk() if self._node(path))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _node(self, path: Path) -> Node | None:
        return self._root.find(path)


class _KeyPlaces(_Places):
    """Spans of the keys that lead to values."""

    def _node(self, path: Path) -> Node | None:
        around = self._root.find(path[:-1]) if path else None
        return around.keys.get(path[-1]) if around and isinstance(path[-1], str) else None


class _Unusable(Exception):
    """What was found cannot be built on; it has been reported."""


class _Builder:
    """One walk over the events of a file."""

    def __init__(self, events: Iterator[Any], text: str, name: str, report: Report) -> None:
        self.next: Callable[[], Any] = events.__next__
        self.text = text
        self.name = name
        self.report = report
        self.anchors: dict[str, Node | None] = {}

    def document(self) -> Node | None:
        """The value of the file's one document, None if there is none."""
        from ruamel.yaml import events

        self.next()
        if isinstance(self.next(), events.StreamEndEvent):
            return None
        root = self.value(self.next(), 0)
        self.next()
        following = self.next()
        if not isinstance(following, events.StreamEndEvent):
            self.error(
                "DC110",
                "the file holds more than one YAML document",
                following,
                "keep one document per file, and name several files with --prefect-file",
            )
        return root

    def value(self, event: Any, depth: int) -> Node:
        """The value that begins with this event."""
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self.alias(event)
        if event.anchor:
            self.anchor(event)
        if depth > MAX_DEPTH:
            self.error("DC113", f"values are nested more than {MAX_DEPTH} deep", event)
            raise _Unusable
        if kind == "ScalarEvent":
            node = self.scalar(event)
        elif kind == "MappingStartEvent":
            node = self.mapping(event, depth)
        else:
            node = self.sequence(event, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        if node.size > MAX_VALUES:
            self.error("DC113", f"its aliases make more than {MAX_VALUES:,} values", event)
            raise _Unusable
        return node

    def anchor(self, event: Any) -> None:
        if event.anchor in self.anchors:
            self.report.warning(
                "DC106",
                f"the anchor '&{event.anchor}' is set twice, which Prefect refuses",
                _span(self.name, event.start_mark, event.end_mark),
                help="aliases below repeat the second; give it another name",
            )
        self.anchors[event.anchor] = None

    def alias(self, event: Any) -> Node:
        if (node := self.anchors.get(event.anchor)) is not None:
            return node
        if event.anchor in self.anchors:
            message = f"'*{event.anchor}' stands inside the value that it repeats"
        else:
            message = f"'*{event.anchor}' repeats an anchor '&{event.anchor}' that nobody set"
        help_ = (
            "an anchor must be complete before an alias repeats it; quote text that begins with *"
        )
        self.error("DC106", message, event, help_)
        return Node(None, event.start_mark, event.end_mark)

    def scalar(self, event: Any) -> Node:
        text = event.value
        if event.tag is not None:
            value = self.tagged(event)
        else:
            value = resolve(text) if event.implicit[0] else text
        if isinstance(value, float) and not math.isfinite(value):
            self.error(
                "DC112", f"'{text}' is a number that cannot be sent", event, "quote it to mean text"
            )
            value = text
        return Node(value, event.start_mark, event.end_mark, text)

    def tagged(self, event: Any) -> Json:
        text, tag = event.value, event.tag
        if tag == "!":
            return text
        expected = _SCALAR_TAGS.get(tag.removeprefix("tag:yaml.org,2002:"))
        if expected is str:
            return text
        value = resolve(text)
        if expected is None or not isinstance(value, expected):
            self.refuse_tag(event)
        return float(value) if expected == (int, float) else value

    def sequence(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:seq"):
            self.refuse_tag(event)
        nodes: list[Node] = []
        while type(item := self.next()).__name__ != "SequenceEndEvent":
            nodes.append(self.value(item, depth + 1))
        return Node(
            [node.value for node in nodes],
            event.start_mark,
            item.end_mark,
            parts=dict(enumerate(nodes)),
            size=1 + sum(node.size for node in nodes),
        )

    def mapping(self, event: Any, depth: int) -> Node:
        if event.tag not in (None, "!", "tag:yaml.org,2002:map"):
            self.refuse_tag(event)
        own: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        merged: list[Node] = []
        unquoted = False
        while type(first := self.next()).__name__ != "MappingEndEvent":
            key = self.value(first, depth + 1)
            value = self.value(self.next(), depth + 1)
            if key.text == "<<" and type(first).__name__ == "ScalarEvent" and first.implicit[0]:
                merged += self.merge_sources(value)
                continue
            if isinstance(key.value, dict | list):
                unquoted = True
                self.error("DC104", "a key cannot be a mapping or a list", key, _QUOTE_IT)
                continue
            name = self.key(key)
            if name in own:
                self.duplicate(name, keys[name], key)
            own[name], keys[name] = value, key
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

    def merge_sources(self, node: Node) -> list[Node]:
        """The mappings that a `<<` names, those that win last."""
        sources = list(node.parts.values())[::-1] if isinstance(node.value, list) else [node]
        if all(isinstance(source.value, dict) for source in sources):
            return sources
        self.error(
            "DC106",
            "'<<' merges mappings, and this is none",
            node,
            "write '<<: *anchor' or '<<: [*one, *other]'",
        )
        return []

    def key(self, node: Node) -> str:
        """A key as JSON has it: text."""
        if isinstance(node.value, str):
            return node.value
        text = "None" if node.value is None else json.dumps(node.value)
        if text != node.text:
            self.report.warning(
                "DC111",
                f"the key '{node.text}' is read as {text}, as YAML 1.1 has it",
                _span(self.name, node.start, node.end),
                help=f'quote it: "{node.text}"',
            )
        return text

    def duplicate(self, name: str, first: Node, second: Node) -> None:
        self.report.error(
            "DC105",
            f"the key '{name}' is given twice",
            _span(self.name, second.start, second.end),
            help="keep one; Prefect takes the last and says nothing",
            related=[(_span(self.name, first.start, first.end), "first given here")],
        )

    def refuse_tag(self, event: Any) -> None:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        self.error(
            "DC107",
            f"the tag '{tag}' has no meaning here",
            event,
            "write the value without a tag; quote text that begins with !",
        )

    def error(self, code: str, message: str, place: Any, help_: str | None = None) -> None:
        start = place.start if isinstance(place, Node) else place.start_mark
        end = place.end if isinstance(place, Node) else place.end_mark
        self.report.error(code, message, _span(self.name, start, end), help=help_)


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


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keeps Python from searching a growing tree for garbage: a third of the time of a big file."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _span(file: str, start: Any, end: Any) -> Span:
    return _made(file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


@lru_cache(maxsize=1024)
def _made(file: str, line: int, column: int, end_line: int, end_column: int) -> Span:
    return Span(file, line, column, end_line, end_column)


def _span_at(file: str, text: str, position: int) -> Span:
    """The span of one character."""
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return Span(file, line, column, line, column + 1)


def _not_yaml(error: Any, text: str, name: str, report: Report) -> None:
    """Tells a syntax error in our words; an unquoted template is the likeliest reason for one."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        report.error("DC103", "this is not YAML")
        return
    place = Span(name, mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2)
    lines = text.splitlines()
    near = [other.line for other in (error.context_mark, mark) if other is not None]
    in_flow = "got '{'" in str(error.problem)
    if in_flow or any(
        line < len(lines) and _UNQUOTED_TEMPLATE.search(lines[line]) for line in near
    ):
        if not any(item.code == "DC104" for item in report):
            message = "YAML reads an unquoted '{{' as two mappings"
            report.error("DC104", message, place, help=_QUOTE_IT)
        return
    problem = " ".join(str(error.problem or "").split())
    context = " ".join(str(error.context or "").split())
    said = f"{context}, {problem}" if context else problem
    report.error("DC103", f"this is not YAML: {said}", place, help=_likely_cause(problem))


def _likely_cause(problem: str) -> str | None:
    """What usually is behind a problem that the parser has a name for."""
    for sign, cause in _CAUSES:
        if sign in problem:
            return cause
    return None


_CAUSES = (
    ("'\\t'", "indent with spaces; YAML allows no tabs there"),
    (
        "mapping values are not allowed",
        "quote a value that has ': ' in it, or check the indentation",
    ),
    ("could not find expected ':'", "a key needs ': ' after it; check the line before, too"),
    ("block end", "check the indentation: keys of one mapping begin in the same column"),
    ("undefined tag", "write the value without a tag"),
)
