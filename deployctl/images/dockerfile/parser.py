"""A Dockerfile as its instructions, with the place of each: what is written, not what it does.

The rules are BuildKit's: directives at the top, lines that go on, comments between them, here
documents, JSON and plain forms, flags. Nothing is substituted here (see `stages`), and what an
instruction is for is not looked at further than its words. Mistakes are collected in `problems`, so
that a caller can show all of them, or leave the judgement to the engine that builds.
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

_PAIRS = frozenset({"ENV", "LABEL"})
_JSON_OR_TEXT = frozenset({"RUN", "CMD", "ENTRYPOINT", "SHELL", "HEALTHCHECK"})
_JSON_OR_WORDS = frozenset({"ADD", "COPY", "VOLUME"})
_WORDS = frozenset({"FROM", "EXPOSE"})
_TEXT = frozenset({"USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER", "ONBUILD"})
_QUOTED = frozenset({"ARG"})
KEYWORDS = _PAIRS | _JSON_OR_TEXT | _JSON_OR_WORDS | _WORDS | _TEXT | _QUOTED
_WITH_HEREDOCS = frozenset({"ADD", "COPY", "RUN"})
_LEAST_WORDS = {"ADD": 2, "COPY": 2, "ONBUILD": 1, "USER": 1, "WORKDIR": 1, "ARG": 1, "EXPOSE": 1}


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A file that stands in the Dockerfile itself."""

    name: str
    content: str
    expand: bool
    """Whether variables in it are substituted: its name was not in quotes."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction as written."""

    keyword: str
    """In capital letters."""
    words: tuple[str, ...]
    """Its arguments: the items of a JSON list; `name=value` for ENV, LABEL and ARG, quotes and all;
    one whole text where words mean nothing."""
    line: int
    """Where it begins, counted from 1."""
    end_line: int
    flags: tuple[tuple[str, str], ...] = ()
    """`--name=value` in order, without the dashes; a flag without a value has ""."""
    is_json: bool = False
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str) -> str | None:
        """The value of a flag, the last one if there are several."""
        return dict(self.flags).get(name)


@dataclass(frozen=True, slots=True)
class Stage:
    """FROM and what follows it."""

    image: str
    """As written, with variables: an image, an earlier stage, or `scratch`."""
    name: str | None
    """In lower case."""
    platform: str | None
    opening: Instruction
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file."""

    name: str
    arguments: tuple[Instruction, ...]
    """ARG before the first FROM."""
    stages: tuple[Stage, ...]
    directives: Mapping[str, str]
    problems: tuple[Diagnostic, ...]

    @property
    def escape(self) -> str:
        """What stands before a character to take its meaning: a backslash or a backtick."""
        return self.directives.get("escape", "\\")

    def span(self, instruction: Instruction) -> Span:
        """Where an instruction stands."""
        return Span(self.name, instruction.line, 1, instruction.end_line + 1, 1)


def parse(text: str, name: str = "Dockerfile") -> Dockerfile:
    """Reads a Dockerfile; `name` is what its problems call it (DC703). Raises nothing."""
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n")
    reader = _Parser(name, [line.rstrip("\r") for line in lines])
    instructions = list(reader.instructions())
    arguments, stages = _stages(instructions, reader)
    return Dockerfile(name, arguments, stages, reader.directives, tuple(reader.report))


@dataclass
class _Parser:
    name: str
    lines: Sequence[str]
    directives: dict[str, str] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    at: int = 0

    def problem(self, message: str, line: int, end: int | None = None) -> None:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        column = len(text) - len(text.lstrip()) + 1
        span = Span(self.name, line, column, end or line, max(len(text), column) + 1)
        self.report.error("DC703", message, span)

    def instructions(self) -> Iterator[Instruction]:
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
                self.problem(f"the directive '{key}' is given twice", self.at)
            elif key == "escape" and found[2] not in ("\\", "`"):
                self.problem("the escape character can only be \\ or `", self.at)
            else:
                self.directives[key] = found[2]

    def _logical_line(self) -> str:
        """The next line with all that it goes on with; comments and empty lines in it are none."""
        escape = re.escape(self.directives.get("escape", "\\"))
        goes_on = re.compile(rf"(?:(?<!{escape})|^){escape}[ \t]*$")
        whole, begun = "", False
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            bare = line.strip()
            if bare.startswith("#") or (begun and not bare):
                if begun:
                    continue
                return ""
            text, more = goes_on.subn("", line if begun else line.lstrip())
            whole, begun = whole + text, True
            if not more:
                break
        return whole

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
            self.problem(f"there is no instruction {keyword}", start)
        elif len(words) < _LEAST_WORDS.get(keyword, 0):
            few = _LEAST_WORDS[keyword]
            self.problem(f"{keyword} needs {few} argument{'s' if few > 1 else ''} or more", start)
        pairs = tuple(_flag(word) for word in flags)
        return Instruction(keyword, words, start, self.at, pairs, is_json, heredocs)

    def _words(self, keyword: str, rest: str, line: int) -> tuple[tuple[str, ...], bool]:
        """The arguments of an instruction, and whether they are a JSON list."""
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
        elif "=" not in words[0]:  # the old form: one name, and all the rest is its value
            name, *value = re.split(r"[\t\v\f\r ]+", rest, maxsplit=1)
            if not value:
                self.problem(f"{keyword} {name} has no value", line)
            else:
                yield f"{name}={value[0]}"
        else:
            for word in words:
                if "=" not in word:
                    self.problem(f"'{word}' is not of the form name=value", line)
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
                self.problem(f"the text after <<{name} has no end: no line is '{bare}'", start)
            yield Heredoc(bare, "".join(content), expand=bare == name)


def _flag(word: str) -> tuple[str, str]:
    name, _, value = word.removeprefix("--").partition("=")
    return name, value


def _json_list(text: str) -> tuple[str, ...] | None:
    """A JSON list of texts; None for anything else, which is then no JSON at all."""
    if not text.startswith("["):
        return None
    try:
        items = json.loads(text)
    except ValueError:
        return None
    return tuple(items) if all(isinstance(item, str) for item in items) else None


def _stages(
    instructions: Sequence[Instruction], reader: _Parser
) -> tuple[tuple[Instruction, ...], tuple[Stage, ...]]:
    """The ARGs before the first FROM, and the stages."""
    starts = [at for at, found in enumerate(instructions) if found.keyword == "FROM"]
    if not starts:
        reader.problem("there is no FROM", 1)
    before = instructions[: starts[0]] if starts else instructions
    for found in before:
        if found.keyword != "ARG":
            reader.problem(f"{found.keyword} stands before the first FROM", found.line)
    stages = [
        _stage(instructions[at], tuple(instructions[at + 1 : end]), reader)
        for at, end in pairwise([*starts, len(instructions)])
    ]
    return tuple(found for found in before if found.keyword == "ARG"), tuple(stages)


def _stage(opening: Instruction, rest: tuple[Instruction, ...], reader: _Parser) -> Stage:
    words, name = opening.words, None
    if len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            reader.problem(f"'{words[2]}' cannot be the name of a stage", opening.line)
    elif len(words) != 1:
        reader.problem("FROM has the form FROM image [AS name]", opening.line)
    return Stage(words[0] if words else "", name, opening.flag("platform"), opening, rest)
