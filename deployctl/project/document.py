"""A YAML file: its values, and the position of every value and key.

PyYAML parses the file, with libyaml where it has it: the parser that Prefect uses, so both read the
same. `compose` turns its events into a tree. Spans are created on demand, since most files have no
diagnostics. A file of 1,000 deployments takes about 0.2 s.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Span, Spans
from deployctl.core.fix import Fix, QuoteAt, fix_above, fix_below
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.compose import (
    QUOTE_TEMPLATE,
    Composer,
    Node,
    UnusableDocument,
    span_between,
)
from deployctl.project.secrets import secrets_below, secrets_in_text
from deployctl.templating.problems import Problem, report_problems

_KEY_CODES = frozenset({"DC120", "DC121", "DC122"})
"""Diagnostics about a key; they are shown at the key, all others at the value."""
_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\-\[,{])\s*\{\{")


@dataclass(frozen=True, slots=True)
class Environment:
    """What an environment says beside the values that it changes."""

    name: str
    api_url: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file."""

    file: str
    """The path as the user wrote it; every span names it."""
    text: str
    data: Json
    spans: Spans
    root: Node
    listed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By top-level key: the names of a mapping that `with_listed_items` made a list of."""
    environment: Environment | None = None
    """The environment whose values are in it; its paths are those of the file no longer."""

    def source(self, path: JsonPath) -> str | None:
        """The text of the scalar at `path` as it is written (`1.10`); None for anything else."""
        node = self.root.find(path)
        return node.text if node else None

    def report_problems(self, problems: Iterable[Problem], report: Report) -> None:
        """Adds problems to a report, each with the span of its key or value."""
        for problem in problems:
            if option := self._option(problem.path):
                message = f"{option}: {problem.message}"
                report_problems(
                    [replace(problem, message=message, fix=None)], report, lambda _: None
                )
                continue
            at_key = problem.at_key or problem.code in _KEY_CODES
            problem = replace(problem, fix=self._as_written(problem))
            report_problems([problem], report, self.spans.key if at_key else self.spans.value)

    def _option(self, path: JsonPath) -> str:
        """The option that gives the value at a path, or its nearest ancestor; "" if none does."""
        nodes = [node for length in range(len(path) + 1) if (node := self.root.find(path[:length]))]
        return "" if nodes[-1].start is not None else nodes[-1].file

    def with_root(self, root: Node) -> Document:
        """The document with other values."""
        spans = Spans(_ValueSpans(root, self.file), _KeySpans(root, self.file))
        return replace(self, data=root.value, spans=spans, root=root)

    def _as_written(self, problem: Problem) -> Fix | None:
        """The fix of a problem; in a mapping that became a list, with the names that it has."""
        if self.environment:
            return None
        match problem.path:
            case (str(key), int(index), *_) if problem.fix and key in self.listed:
                return fix_below(fix_above(problem.fix, 2), (key, self.listed[key][index]))
        return problem.fix


def with_listed_items(document: Document, key: str) -> Document:
    """The document with the mapping below a top-level key as a list of items with a `name`.

    `{a: {type: t}}` becomes `[{name: a, type: t}]`; spans stay those of the file.
    """
    mapping = document.root.parts[key]
    items: dict[str | int, Node] = {}
    for index, (name, node) in enumerate(mapping.parts.items()):
        name_node = mapping.keys[str(name)]
        own = node.value if isinstance(node.value, dict) else {}
        parts: dict[str | int, Node] = {"name": name_node, **node.parts}
        items[index] = replace(
            node,
            value={"name": name, **own},
            parts=parts,
            keys={"name": name_node, **node.keys},
        )
    listed = replace(mapping, value=[item.value for item in items.values()], parts=items, keys={})
    root = replace(
        document.root,
        value={**document.data, key: listed.value},
        parts={**document.root.parts, key: listed},
    )
    listed_names = {**document.listed, key: tuple(mapping.keys)}
    return replace(document.with_root(root), listed=listed_names)


def read_document(path: Path, report: Report, option: str = "--prefect-file") -> Document | None:
    """Reads and parses a file; None if that is impossible, with the reason in `report`.

    `option` is the option that names the file.
    """
    file = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        help_ = f"Create it, or name another file with {option}."
        report.add("DC100", f"there is no file '{file}'", help=help_)
        return None
    except IsADirectoryError:
        help_ = f"Name a file: '{path / 'prefect.yaml'}'."
        report.add("DC101", f"'{file}' is a directory", help=help_)
        return None
    except OSError as error:
        report.add("DC101", f"cannot read '{file}': {error.strerror}")
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        report.add(
            "DC102",
            f"byte {error.start + 1} of the file (0x{content[error.start]:02x}) is not UTF-8",
            _span_at(file, before, len(before)),
            help="Save the file as UTF-8.",
        )
        return None
    return parse_document(text, file, report)


def parse_document(text: str, file: str, report: Report) -> Document | None:
    """Parses the text of a file; None unless it is a mapping in YAML.

    Everything else that is wrong is reported and replaced by a value that later checks can continue
    with. Values with secret names are registered, so that no excerpt shows them.
    """
    document = _parse(text.removeprefix("\ufeff"), file, report)
    if document is None:
        redact.register_secrets(secrets_in_text(text))
    return document


def _parse(text: str, file: str, report: Report) -> Document | None:
    import yaml

    if (bad := yaml.reader.Reader.NON_PRINTABLE.search(text)) is not None:
        message = f"the character U+{ord(bad[0]):04X} is not allowed in YAML"
        report.add("DC103", message, _span_at(file, text, bad.start()))
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    composer = Composer(loader.get_event, text, file, report)
    try:
        with _gc_paused():
            root = composer.compose_document()
        redact.register_secrets(
            secret for node in composer.secret_nodes for secret in secrets_below(node, text)
        )
    except yaml.MarkedYAMLError as error:
        _report_syntax_error(error, text, file, report)
        return None
    except UnusableDocument:
        return None
    if root is None or root.value is None:
        help_ = "Begin with 'deployments:' and one entry below it."
        report.add("DC108", "the file is empty", help=help_)
        return None
    if not isinstance(root.value, dict):
        report.add(
            "DC109",
            f"the file is {_KINDS.get(type(root.value), 'a single value')}, not a mapping",
            span_between(file, root.start, root.end),
            help="Begin with a key, such as 'deployments:'.",
        )
        return None
    spans = Spans(_ValueSpans(root, file), _KeySpans(root, file))
    return Document(file, text, root.value, spans, root)


_KINDS: dict[type, str] = {list: "a list", str: "a single text"}


class _ValueSpans(Mapping[JsonPath, Span]):
    """Spans of values, created on demand; of an alias, that of its key, not of the anchor."""

    def __init__(self, root: Node, file: str) -> None:
        self._root = root
        self._file = file

    def __getitem__(self, path: JsonPath) -> Span:
        node = self._node(path)
        if node is None:
            raise KeyError(path)
        return span_between(node.file or self._file, node.start, node.end)

    def __iter__(self) -> Iterator[JsonPath]:
        return (path for path, _ in self._root.walk() if self._node(path))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _node(self, path: JsonPath) -> Node | None:
        node = self._root.find(path)
        if node is None or node.start is None:
            return None
        parent = self._root.find(path[:-1]) if node and path else None
        key = parent.keys.get(str(path[-1])) if parent else None
        is_alias = node and key and node.file == key.file and node.start.index < key.start.index
        return key if is_alias else node


class _KeySpans(_ValueSpans):
    """Spans of the keys that lead to values."""

    def _node(self, path: JsonPath) -> Node | None:
        parent = self._root.find(path[:-1]) if path else None
        key = parent.keys.get(path[-1]) if parent and isinstance(path[-1], str) else None
        return key if key and key.start is not None else None


@contextmanager
def _gc_paused() -> Iterator[None]:
    """Pauses garbage collection, which otherwise scans the growing tree again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _span_at(file: str, text: str, position: int) -> Span:
    """The span of one character."""
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return Span(file, line, column, line, column + 1)


def _report_syntax_error(error: Any, text: str, file: str, report: Report) -> None:
    """Reports a syntax error; an unquoted template is its most frequent cause."""
    mark = error.problem_mark or error.context_mark
    span = Span(file, mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2)
    lines = text.splitlines()
    marks = [each for each in (error.context_mark, mark) if each is not None]
    near = [each for each in marks if each.line < len(lines)]
    character = text[mark.index : mark.index + 1]
    templates = [
        each.index - each.column + found.end() - 2
        for each in near
        if (found := _UNQUOTED_TEMPLATE.search(lines[each.line]))
    ]
    if character == "{" or templates:
        if not any(item.code == "DC104" for item in report):
            message = "YAML reads an unquoted '{{' as two mappings"
            fix = QuoteAt(templates[0]) if templates else None
            report.add("DC104", message, span, help=QUOTE_TEMPLATE, fix=fix)
        return
    problem = f"{error.problem} '\\t'" if character == "\t" else str(error.problem)
    context = f"{error.context}, " if error.context else ""
    help_ = next((help_ for sign, help_ in _SYNTAX_HELP if sign in f"{context}{problem}"), None)
    at = error.context_mark if "alias" in context else mark
    fix = QuoteAt(at.index) if help_ == _QUOTE else None
    report.add("DC103", f"invalid YAML: {context}{problem}", span, help=help_, fix=fix)


_INDENTATION = "Check the indentation: keys of one mapping begin in the same column."
_QUOTE = "Quote the value."
_SYNTAX_HELP = (
    ("'\\t'", "Indent with spaces; YAML allows no tabs there."),
    ("cannot start any token", _QUOTE),
    ("scanning an alias", _QUOTE),
    ("mapping values", "Quote a value that contains ': ', or check the indentation."),
    ("expected ':'", "A key needs ': ' after it; check the line before, too."),
    ("expected ',' or", "Close the bracket, or put a comma between the items."),
    ("undefined tag", "Write the value without a tag."),
    ("expected key", _INDENTATION),
    ("expected '-'", _INDENTATION),
    ("block end", _INDENTATION),
)
"""Help for a problem by a part of its message, of libyaml or of PyYAML's own parser."""
