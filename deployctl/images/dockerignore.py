r"""What `.dockerignore` leaves out of a build context, by the rules of Docker's own matcher.

These are not the rules of `.gitignore`: patterns start at the root of the context, later ones win,
and what a directory matched holds for everything in it until a `!` takes it back. They are those of
BuildKit, also where the old builder and docker-py differ: `!**/*.py` brings files back out of
folders that were left out. Docker's oddities are kept: `**name` is about the end of the whole path,
`**name*` about a whole part of it, and `\d` is any digit.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.errors import DeployctlError

_CHAR = r"(?:\\.|[^\]\\-])"
_WELL_FORMED = re.compile(
    rf"(?:[^\[\\]|\\.|\[\^?(?:{_CHAR}(?:-{_CHAR})?)+\])*", re.DOTALL
)  # the syntax of patterns in Go's path/filepath
_ESCAPES = frozenset("aAbBdDfnrsStvwW")
"""Letters that mean something after a backslash, because Docker hands them to its regex engine."""
_IN_A_PART = "[^/]"
_SPECIAL = frozenset("*?[]\\")


class BadPattern(DeployctlError):
    """A line of `.dockerignore` that Docker would refuse to build with."""

    code = "DC701"


@dataclass(frozen=True, slots=True)
class _Pattern:
    glob: str
    regex: re.Pattern[str]
    keeps: bool
    """It began with `!`."""


class DockerIgnore:
    """The patterns of one context."""

    def __init__(self, lines: Iterable[str] = (), name: str = ".dockerignore") -> None:
        """`lines` of the file called `name`. Raises BadPattern."""
        self._patterns = tuple(
            _pattern(line, name, number)
            for number, text in enumerate(lines, 1)
            if (line := _clean(text))
        )
        kept = [pattern.glob for pattern in self._patterns if pattern.keeps]
        self._kept = [_plain_beginning(glob) for glob in kept]

    @classmethod
    def read(cls, folder: Path, dockerfile: str = "Dockerfile") -> DockerIgnore:
        """Reads `<dockerfile>.dockerignore` or, without one, `.dockerignore`; neither is fine.

        Raises BadPattern, also for a file that cannot be read.
        """
        for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
            try:
                text = (folder / name).read_bytes().decode("utf-8-sig", "surrogateescape")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise BadPattern(f"'{name}' cannot be read: {error.strerror}") from error
            return cls((line.removesuffix("\r") for line in text.split("\n")), name)
        return cls()

    def closes(self, folder: str) -> bool:
        """Whether nothing in a folder that is left out can be in the context."""
        return not any(kept is None or f"{kept}/".startswith(f"{folder}/") for kept in self._kept)

    @property
    def at_root(self) -> tuple[bool, ...]:
        """What a walk through the context hands to `step` for paths at its root."""
        return (False,) * len(self._patterns)

    def step(self, path: str, parent: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """Whether a path, relative to the context and with `/`, is left out, and which patterns
        matched: `parent` for what is in it.

        A pattern that would change nothing is not looked at, and does not count as matched.
        """
        excluded, matches = False, []
        for pattern, inherited in zip(self._patterns, parent, strict=True):
            matched = inherited or (
                pattern.keeps == excluded and pattern.regex.fullmatch(path) is not None
            )
            matches.append(matched)
            if matched:
                excluded = not pattern.keeps
        return excluded, tuple(matches)


def _clean(line: str) -> str:
    """A line as a pattern: relative to the context, with `!` before it if it had one; "" for none.

    What comes out is cleaned once more, as Docker does when it reads the file and again when it
    uses the patterns; `a/ /` is `a` after that.
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
    keeps = line.startswith("!")
    glob = line.removeprefix("!") if keeps else line
    try:
        if not glob or not _WELL_FORMED.fullmatch(glob):
            raise re.error("not a pattern")
        return _Pattern(glob, re.compile(_regex(glob), re.ASCII), keeps)
    except re.error as error:
        raise BadPattern(
            f"line {number} of '{name}' is not a pattern: '{line}'",
            help="brackets hold at least one character, and a backslash stands before another one",
        ) from error


def _plain_beginning(glob: str) -> str | None:
    """The path below which a pattern matches; None if that can be anywhere."""
    plain = glob.removesuffix("/**").removesuffix("/*")
    return None if _SPECIAL & set(plain) else plain


def _regex(glob: str) -> str:
    """The regular expression of a pattern."""
    if glob.startswith("**") and not glob.startswith("**/") and not _SPECIAL & set(glob[2:]):
        return ".*" + re.escape(glob[2:])
    regex, at, in_brackets = "", 0, False
    while at < len(glob):
        char, rest = glob[at], glob[at + 1 :]
        at += 1
        if char == "*" and rest.startswith("*"):
            at += 2 if rest.startswith("*/") else 1
            regex += "(.*/)?" if at < len(glob) else ".*"
        elif char in "*?":  # between brackets Docker does the same, and so ends them
            regex += ("\\" if in_brackets else "") + _IN_A_PART + ("*" if char == "*" else "")
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
        raise re.error("means nothing")
    return re.escape(char)
