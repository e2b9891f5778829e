r"""Matcher for `.dockerignore`, with the semantics of BuildKit.

These differ from `.gitignore`: patterns are relative to the root of the context, the last match
wins, and a match of a directory applies to everything in it until a `!` pattern overrides it.
BuildKit's rules are used also where the classic builder and docker-py differ: `!**/*.py` includes
files again that are in excluded directories. Quirks of Docker's matcher are kept: `**name` matches
the end of the whole path, `**name*` matches a whole path component, and `\d` is any digit.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.errors import DeployctlError

_CHAR = r"(?:\\.|[^\]\\-])"
_WELL_FORMED = re.compile(rf"(?:[^\[\\]|\\.|\[\^?(?:{_CHAR}(?:-{_CHAR})?)+\])*", re.DOTALL)
"""Pattern syntax of Go's path/filepath."""
_ESCAPES = frozenset("aAbBdDfnrsStvwW")
"""Letters that have a meaning after a backslash, because Docker passes them to its regex engine."""
_NOT_SLASH = "[^/]"
_SPECIAL = frozenset("*?[]\\")


class BadPattern(DeployctlError):
    """Invalid pattern in `.dockerignore`, with which Docker would refuse to build."""

    code = "DC701"


@dataclass(frozen=True, slots=True)
class _Pattern:
    glob: str
    regex: re.Pattern[str]
    negated: bool
    """Starts with `!`: matching paths are included again."""


class DockerIgnore:
    """The ignore patterns of one build context."""

    def __init__(self, lines: Iterable[str] = (), name: str = ".dockerignore") -> None:
        """Parses the lines of the file `name`. Raises BadPattern."""
        self._patterns = tuple(
            _pattern(line, name, number)
            for number, text in enumerate(lines, 1)
            if (line := _clean(text))
        )
        self._included = [_literal_prefix(each.glob) for each in self._patterns if each.negated]

    @classmethod
    def read(cls, folder: Path, dockerfile: str = "Dockerfile") -> DockerIgnore:
        """Reads `<dockerfile>.dockerignore`, else `.dockerignore`; both may be absent.

        Raises BadPattern, also for an unreadable file.
        """
        for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
            try:
                text = (folder / name).read_bytes().decode("utf-8-sig", "surrogateescape")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise BadPattern(f"cannot read '{name}': {error.strerror}") from error
            return cls((line.removesuffix("\r") for line in text.split("\n")), name)
        return cls()

    def excludes_below(self, directory: str) -> bool:
        """Whether everything below an excluded directory is excluded too, so that a walk can skip
        it."""
        return not any(
            prefix is None or f"{prefix}/".startswith(f"{directory}/") for prefix in self._included
        )

    @property
    def root_matches(self) -> tuple[bool, ...]:
        """The `parent_matches` of paths at the root of the context."""
        return (False,) * len(self._patterns)

    def match(self, path: str, parent_matches: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path is excluded, and which patterns matched it.

        `path` is relative to the context, with `/`. `parent_matches` are the matches of its
        directory; the returned ones are to be passed for paths in it. A pattern that would not
        change the result is not evaluated and does not count as matched.
        """
        excluded, matches = False, []
        for pattern, inherited in zip(self._patterns, parent_matches, strict=True):
            matched = inherited or (
                pattern.negated == excluded and pattern.regex.fullmatch(path) is not None
            )
            matches.append(matched)
            if matched:
                excluded = not pattern.negated
        return excluded, tuple(matches)


def _clean(line: str) -> str:
    """Normalizes a line to a pattern relative to the context; "" for a comment or empty line.

    The result is cleaned twice, as in Docker, which does it when it reads the file and again when
    it compiles the patterns: `a/ /` becomes `a`.
    """
    pattern = line.strip()
    if not pattern or line.startswith("#"):
        return ""
    bang = "!" if pattern.startswith("!") else ""
    pattern = pattern.removeprefix(bang).strip()
    if pattern:
        pattern = posixpath.normpath(pattern)
        pattern = pattern.lstrip("/") or "/"
    again = (bang + pattern).strip()
    return posixpath.normpath(again) if again else ""


def _pattern(line: str, name: str, number: int) -> _Pattern:
    glob = line.removeprefix("!")
    try:
        if not glob or not _WELL_FORMED.fullmatch(glob):
            raise re.error("not a pattern")
        return _Pattern(glob, re.compile(_regex(glob), re.ASCII), line.startswith("!"))
    except re.error as error:
        raise BadPattern(
            f"invalid pattern in line {number} of '{name}': '{line}'",
            help="Put at least one character between brackets, and one after a backslash.",
        ) from error


def _literal_prefix(glob: str) -> str | None:
    """The path below which a pattern matches; None if it may match anywhere."""
    prefix = glob.removesuffix("/**").removesuffix("/*")
    return None if _SPECIAL & set(prefix) else prefix


def _regex(glob: str) -> str:
    """Translates a pattern to a regular expression."""
    if glob.startswith("**") and not glob.startswith("**/") and not _SPECIAL & set(glob[2:]):
        return ".*" + re.escape(glob[2:])
    regex, at, in_brackets = "", 0, False
    while at < len(glob):
        char, rest = glob[at], glob[at + 1 :]
        at += 1
        if char == "*" and rest.startswith("*"):
            at += 2 if rest.startswith("*/") else 1
            regex += "(.*/)?" if at < len(glob) else ".*"
        elif char in "*?":  # Docker does this between brackets too, which ends them
            regex += ("\\" if in_brackets else "") + _NOT_SLASH + ("*" if char == "*" else "")
            in_brackets = False
        elif char == "\\":
            regex += _escaped(rest[0])
            at += 1
        elif char == "[":
            regex += "\\[" if in_brackets else "["
            in_brackets = True
        elif char == "]":
            regex += char
            in_brackets = False
        else:
            regex += char if in_brackets and char in "^-" else re.escape(char)
    return regex


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return f"\\{char}"
    if char.isalnum():
        raise re.error("unknown escape")
    return re.escape(char)
