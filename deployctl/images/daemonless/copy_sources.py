"""Resolves the sources of COPY and ADD to files of the build context.

Sources are patterns of Go's `filepath.Match`. A source that is a link stands for its target, as
long as that is in the context; links inside a copied directory stay links. Nothing outside the
context is ever read, wherever a link points.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from deployctl.core.errors import DeployctlError
from deployctl.images.context import ContextEntry, EntryType

_MAX_LINKS = 255
_WILDCARDS = frozenset("*?[\\")
_IN_BRACKETS = r"(?:\\.|[^\]\\])"
_TOKEN = re.compile(rf"\\(.)|(\*+)|(\?)|(\[\^?{_IN_BRACKETS}+\])|(.)", re.DOTALL)


class NothingToCopy(DeployctlError):
    """A source of COPY is not in the build context, or has no destination of its own."""

    code = "DC737"


class ContextFiles:
    """The entries of a context by path."""

    def __init__(self, entries: Iterable[ContextEntry]) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._entries:
            self._children[posixpath.dirname(path)].append(path)

    def match(self, source: str) -> list[tuple[str, ContextEntry | None]]:
        """The base names and entries that a source matches; entry None is the context itself.

        Raises NothingToCopy.
        """
        path = posixpath.normpath(source.lstrip("/") or ".")
        if path == ".." or path.startswith("../"):
            raise NothingToCopy(
                f"'{source}' is outside the build context",
                help="Use a build context that contains everything that is copied.",
            )
        if not _WILDCARDS & set(path):
            return [(posixpath.basename(path), self._resolve(path))]
        pattern = _regex(path)
        matches = [each for each in self._entries if pattern.fullmatch(each)]
        return [(posixpath.basename(each), self._resolve(each)) for each in matches]

    def below(self, directory: ContextEntry | None) -> Iterator[tuple[str, ContextEntry]]:
        """All entries below a directory (None: the context), with paths relative to it."""
        root = directory.path if directory else ""
        stack = list(reversed(self._children[root]))
        while stack:
            path = stack.pop()
            yield posixpath.relpath(path, root or "."), self._entries[path]
            stack += reversed(self._children.get(path, []))

    def _resolve(self, path: str) -> ContextEntry | None:
        """The entry at a path, with links followed; None is the context itself."""
        parts, at, links = path.split("/"), "", 0
        target, rest = "", 0  # the last link that was followed, and the parts after it
        while parts:
            part = parts.pop(0)
            at = posixpath.normpath(posixpath.join("/", at, part)).lstrip("/")
            entry = self._entries.get(at)
            if entry is not None and entry.type is EntryType.LINK and links < _MAX_LINKS:
                target, rest = entry.target, len(parts)
                parts, links = [*target.split("/"), *parts], links + 1
                at = "" if entry.target.startswith("/") else posixpath.dirname(at)
            elif at and entry is None and target and len(parts) >= rest:
                raise NothingToCopy(
                    f"'{path}' is a link to '{target}', which is not in the build context",
                    help="Replace the link with the files that are to be copied.",
                )
            elif at and (entry is None or entry.type is EntryType.LINK):
                raise NothingToCopy(
                    f"'{path}' is not in the build context",
                    help="Check the spelling, and whether .dockerignore excludes it.",
                )
        return self._entries.get(at)


def _regex(pattern: str) -> re.Pattern[str]:
    """Translates a pattern; an unterminated bracket is a literal character."""
    regex = ""
    for escaped, stars, question_mark, brackets, literal in _TOKEN.findall(pattern):
        if stars:
            regex += "[^/]*"
        elif question_mark:
            regex += "[^/]"
        elif brackets:
            inner = re.sub(r"\\?([\W\w])", _in_brackets, brackets[1:-1].removeprefix("^"))
            regex += f"[{'^' if brackets.startswith('[^') else ''}{inner}]"
        else:
            regex += re.escape(escaped or literal)
    return re.compile(regex, re.DOTALL)


def _in_brackets(char: re.Match[str]) -> str:
    """Escapes a character between brackets; an unescaped `-` makes a range."""
    return "-" if char[0] == "-" else re.escape(char[1])
