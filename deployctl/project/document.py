"""A YAML file as values, and for every value the place where it is written.

ruamel.yaml tells the events of the file (a mapping begins, a scalar, …), and `compose` makes a tree
of values and marks of them. A `Span` is made only when somebody asks for it: most files have
nothing wrong. The time goes to ruamel's scanner, about a second for a thousand deployments.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Span, Spans
from deployctl.core.json_values import Json, JsonPath
from deployctl.project.compose import QUOTE_IT, Composer, Node, Unusable, span_between
from deployctl.project.secrets import secrets_below, secrets_in_text
from deployctl.templating.problems import Problem, report_problems

_KEY_CODES = frozenset({"DC120", "DC121", "DC122"})
_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\-\[,{])\s*\{\{")


@dataclass(frozen=True, slots=True)
class Document:
    """A file that could be read: its text, its values, their places."""

    file: str
    """As the user named it; it stands in every span."""
    text: str
    data: Json
    spans: Spans
    root: Node

    def source(self, path: JsonPath) -> str | None:
        """The text of the scalar at `path` as it is written (`1.10`), None for anything else."""
        node = self.root.find(path)
        return node.text if node else None

    def report_problems(self, problems: Iterable[Problem], report: Report) -> None:
        """Adds problems to a report: what is wrong with a key at the key, all else at the value."""
        for problem in problems:
            at_key = problem.code in _KEY_CODES
            report_problems([problem], report, self.spans.key if at_key else self.spans.value)


def read_document(path: Path, report: Report) -> Document | None:
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
    What stands under secret names is remembered, so that nothing shows it.
    """
    found = _parse(text.removeprefix("\ufeff"), name, report)
    if found is None:
        redact.register_secrets(secrets_in_text(text))
    return found


def _parse(text: str, name: str, report: Report) -> Document | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    composer = Composer(yaml.parse(text), text, name, report)
    try:
        with _collector_at_rest():
            root = composer.document()
        redact.register_secrets(
            each for node in composer.secret for each in secrets_below(node, text)
        )
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
    except Unusable:
        return None
    if root is None or root.value is None:
        help_ = "begin with 'deployments:' and one entry below it"
        report.error("DC108", "the file is empty", help=help_)
        return None
    if not isinstance(root.value, dict):
        report.error(
            "DC109",
            f"the file is {_KINDS.get(type(root.value), 'a single value')}, not a mapping of keys",
            span_between(name, root.start, root.end),
            help="it should begin with a key, such as 'deployments:'",
        )
        return None
    places = _Places(root, name)
    return Document(name, text, root.value, Spans(places, _KeyPlaces(root, name)), root)


_KINDS: dict[type, str] = {list: "a list", str: "a single text"}


class _Places(Mapping[JsonPath, Span]):
    """Spans of values, made when asked for."""

    def __init__(self, root: Node, file: str) -> None:
        self._root = root
        self._file = file

    def __getitem__(self, path: JsonPath) -> Span:
        node = self._node(path)
        if node is None:
            raise KeyError(path)
        return span_between(self._file, node.start, node.end)

    def __iter__(self) -> Iterator[JsonPath]:
        return (path for path, _ in self._root.walk() if self._node(path))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _node(self, path: JsonPath) -> Node | None:
        return self._root.find(path)


class _KeyPlaces(_Places):
    """Spans of the keys that lead to values."""

    def _node(self, path: JsonPath) -> Node | None:
        around = self._root.find(path[:-1]) if path else None
        return around.keys.get(path[-1]) if around and isinstance(path[-1], str) else None


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
            report.error("DC104", message, place, help=QUOTE_IT)
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
