"""Dockerfile parser: instructions with their positions, without evaluating them.

The syntax is BuildKit's: parser directives, line continuations, comments between them,
here-documents, JSON and shell form, flags. Variables are not expanded (see `stages`), and the
meaning of an instruction is not checked beyond its words. Errors are collected in `problems`, so
that a caller can report all of them, or leave the decision to the engine that builds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from deployctl.core.diagnostics import Diagnostic, Report, Span
from deployctl.images.dockerfile.substitution import heredoc_words, split_flags, split_words

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*")
_DIRECTIVES = frozenset({"escape", "syntax", "check"})
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")

# How the arguments of each keyword are split.
_PAIRS = frozenset({"ENV", "LABEL"})
_JSON_OR_TEXT = frozenset({"RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK"})
_JSON_OR_WORDS = frozenset({"ADD", "COPY", "VOLUME"})
_WORDS = frozenset({"FROM", "EXPOSE"})
_TEXT = frozenset({"USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER", "ONBUILD"})
_QUOTED = frozenset({"ARG"})
KEYWORDS = _PAIRS | _JSON_OR_TEXT | _JSON_OR_WORDS | _WORDS | _TEXT | _QUOTED
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_MIN_WORDS = {"ADD": 2, "COPY": 2, "ONBUILD": 1, "USER": 1, "WORKDIR": 1, "ARG": 1, "EXPOSE": 1}


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: a file whose content is in the Dockerfile."""

    name: str
    content: str
    expand: bool
    """Whether variables in it are expanded: the delimiter was not quoted."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction as written in the file."""

    keyword: str
    """In upper case."""
    words: tuple[str, ...]
    """Its arguments: the items of a JSON list; `name=value` with quotes for ENV, LABEL and ARG; one
    single text for instructions whose argument is not split."""
    line: int
    """First line, starting at 1."""
    end_line: int
    flags: tuple[tuple[str, str], ...] = ()
    """`--name=value` in order, without the dashes; the value is "" for a flag without one."""
    is_json: bool = False
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str) -> str | None:
        """The value of a flag; the last one if it is repeated."""
        return dict(self.flags).get(name)


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and the instructions after it."""

    image: str
    """Image, earlier stage, or `scratch`, as written, with variables."""
    name: str | None
    """In lower case."""
    platform: str | None
    opening: Instruction
    """The FROM."""
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A parsed Dockerfile."""

    name: str
    arguments: tuple[Instruction, ...]
    """ARG instructions before the first FROM."""
    stages: tuple[Stage, ...]
    directives: Mapping[str, str]
    problems: tuple[Diagnostic, ...]

    @property
    def escape(self) -> str:
        """The escape character: a backslash, or a backtick by `# escape=`."""
        return self.directives.get("escape", "\\")

    def span(self, instruction: Instruction) -> Span:
        """The position of an instruction."""
        return Span(self.name, instruction.line, 1, instruction.end_line + 1, 1)


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Parses a Dockerfile; `name` is its name in problems (DC703). Raises nothing."""
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    parser = _Parser(name, [line.rstrip("\r") for line in lines])
    instructions = list(parser.instructions())
    arguments, stages = _stages(instructions, parser)
    return Dockerfile(name, arguments, stages, parser.directives, tuple(parser.report))


@dataclass
class _Parser:
    name: str
    lines: Sequence[str]
    directives: dict[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    at: int = 0

    def problem(self, message: str, line: int, end: int | None = None) -> None:
        """Records an error in these lines."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        column = len(text) - len(text.lstrip()) + 1
        span = Span(self.name, line, column, end or line, max(len(text), column) + 1)
        self.report.add("DC703", message, span)

    def instructions(self) -> Iterator[Instruction]:
        """Parses the directives and yields the instructions."""
        self._directives()
        while self.at < len(self.lines):
            start = self.at + 1
            if text := self._logical_line().strip():
                yield self._instruction(text, start)

    def _directives(self) -> None:
        while self.at < len(self.lines):
            found = _DIRECTIVE.fullmatch(self.lines[self.at].strip())
            if not found or (key := found[1].lower()) not in _DIRECTIVES:
                return
            self.at += 1
            if key in self.directives:
                self.problem(f"duplicate directive '{key}'", self.at)
            elif key == "escape" and found[2] not in ("\\", "`"):
                self.problem("the escape character must be \\ or `", self.at)
            else:
                self.directives[key] = found[2]

    def _logical_line(self) -> str:
        """The next line, joined with its continuation lines; comments and empty lines between them
        are skipped."""
        escape = re.escape(self.directives.get("escape", "\\"))
        continuation = re.compile(rf"(?:(?<!{escape})|^){escape}[ \t]*$")
        joined, started = "", False
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            stripped = line.strip()
            if stripped.startswith("#") or (started and not stripped):
                if started:
                    continue
                return ""
            text, continues = continuation.subn("", line if started else line.lstrip())
            joined, started = joined + text, True
            if not continues:
                break
        return joined

    def _instruction(self, text: str, start: int) -> Instruction:
        keyword, _, rest = re.sub(r"[\t\v\f\r ]+", " ", text, count=1).partition(" ")
        keyword = keyword.upper()
        flags, rest = split_flags(rest)
        words, is_json = self._words(keyword, rest, start)
        heredocs: tuple[Heredoc, ...] = ()
        subject = rest.split(None, 1)[0].upper() if keyword == "ONBUILD" and rest else keyword
        if subject in _WITH_HEREDOCS and not is_json and "<<" in text:
            heredocs = tuple(self._heredocs(text, start))
        if keyword not in KEYWORDS:
            self.problem(f"unknown instruction {keyword}", start)
        elif len(words) < (least := _MIN_WORDS.get(keyword, 0)):
            plural = "s" if least > 1 else ""
            self.problem(f"{keyword} needs at least {least} argument{plural}", start)
        pairs = tuple(_flag(word) for word in flags)
        return Instruction(keyword, words, start, self.at, pairs, is_json, heredocs)

    def _words(self, keyword: str, rest: str, line: int) -> tuple[tuple[str, ...], bool]:
        """Splits the arguments of an instruction; also says whether they are a JSON list."""
        escape = self.directives.get("escape", "\\")
        if keyword in _JSON_OR_TEXT | _JSON_OR_WORDS and (items := _json_list(rest)) is not None:
            return items, True
        if keyword in _JSON_OR_WORDS | _WORDS:
            return tuple(rest.split()), False
        if keyword in _QUOTED:
            return tuple(split_words(rest, escape)), False
        if keyword in _PAIRS:
            return tuple(self._pairs(keyword, rest, escape, line)), False
        return ((rest,) if rest else ()), False

    def _pairs(self, keyword: str, rest: str, escape: str, line: int) -> Iterator[str]:
        words = split_words(rest, escape)
        if not words:
            self.problem(f"{keyword} needs a name and a value", line)
        elif "=" not in words[0]:  # legacy form `ENV name value`: the rest of the line is the value
            name, *value = re.split(r"[\t\v\f\r ]+", rest, maxsplit=1)
            if not value:
                self.problem(f"{keyword} {name} has no value", line)
            else:
                yield f"{name}={value[0]}"
        else:
            for word in words:
                if "=" not in word:
                    self.problem(f"'{word}' does not have the form name=value", line)
                else:
                    yield word

    def _heredocs(self, text: str, start: int) -> Iterator[Heredoc]:
        for word in heredoc_words(text):
            found = _HEREDOC.fullmatch(word)
            if not found:
                continue
            dash, name = found.groups()
            bare = name.replace("'", "").replace('"', "")
            content: list[str] = []
            while self.at < len(self.lines):
                line = self.lines[self.at]
                self.at += 1
                stripped = line.lstrip("\t") if dash else line
                if stripped == bare:
                    break
                content.append(stripped + "\n")
            else:
                self.problem(f"unterminated here-document <<{name}: no line is '{bare}'", start)
            yield Heredoc(bare, "".join(content), expand=bare == name)


def _flag(word: str) -> tuple[str, str]:
    name, _, value = word.removeprefix("--").partition("=")
    return name, value


def _json_list(text: str) -> tuple[str, ...] | None:
    """The items of a JSON list of strings; None for anything else, which is not JSON form."""
    if not text.startswith("["):
        return None
    try:
        items = json.loads(text)
    except ValueError:
        return None
    return tuple(items) if all(isinstance(item, str) for item in items) else None


def _stages(
    instructions: Sequence[Instruction], parser: _Parser
) -> tuple[tuple[Instruction, ...], tuple[Stage, ...]]:
    """The ARG instructions before the first FROM, and the stages."""
    starts = [at for at, found in enumerate(instructions) if found.keyword == "FROM"]
    if not starts:
        parser.problem("no FROM instruction", 1)
    before = instructions[: starts[0]] if starts else instructions
    for found in before:
        if found.keyword != "ARG":
            parser.problem(f"{found.keyword} before the first FROM", found.line)
    stages = [
        _stage(instructions[at], tuple(instructions[at + 1 : end]), parser)
        for at, end in pairwise([*starts, len(instructions)])
    ]
    return tuple(found for found in before if found.keyword == "ARG"), tuple(stages)


def _stage(opening: Instruction, rest: tuple[Instruction, ...], parser: _Parser) -> Stage:
    words, name = opening.words, None
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            parser.problem(f"invalid stage name '{words[2]}'", opening.line)
    elif len(words) != 1:
        parser.problem("FROM must have the form FROM image [AS name]", opening.line)
    return Stage(words[0] if words else "", name, opening.flag("platform"), opening, rest)
