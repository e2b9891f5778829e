"""What a COPY takes: the files of a build context that its sources name.

Sources are patterns of Go's `filepath.Match`. One that names a link means what it points to, as
long as that lies in the context; links inside a folder that is copied stay links. Nothing outside
the context is ever looked at, wherever a link leads.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from deployctl.core.errors import DeployctlError
from deployctl.images.context import Entry, EntryType

_MOST_LINKS = 255
_WILD = frozenset("*?[\\")
_IN_BRACKETS = r"(?:\\.|[^\]\\])"
_TOKEN = re.compile(rf"\\(.)|(\*+)|(\?)|(\[\^?{_IN_BRACKETS}+\])|(.)", re.DOTALL)


class NothingToCopy(DeployctlError):
    """A source of COPY is not in the build context, or has no place to go to."""

    code = "DC737"


class ContextFiles:
    """The entries of a context, by their paths."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._children: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._entries:
            self._children[posixpath.dirname(path)].append(path)

    def named(self, source: str) -> list[tuple[str, Entry | None]]:
        """What a source of COPY means: the name of each, and the entry; None is the context itself.

        Raises NothingToCopy.
        """
        path = posixpath.normpath(source.lstrip("/") or ".")
        if path == ".." or path.startswith("../"):
            raise NothingToCopy(
                f"'{source}' lies outside the build context",
                help="build from a folder that holds all that is to be copied",
            )
        if not _WILD & set(path):
            return [(posixpath.basename(path), self._found(path))]
        pattern = _regex(path)
        matches = [each for each in self._entries if pattern.fullmatch(each)]
        return [(posixpath.basename(each), self._found(each)) for each in matches]

    def below(self, folder: Entry | None) -> Iterator[tuple[str, Entry]]:
        """All entries in a folder (None: the context), with their paths relative to it."""
        root = folder.path if folder else ""
        waiting = list(reversed(self._children[root]))
        while waiting:
            path = waiting.pop()
            yield posixpath.relpath(path, root or "."), self._entries[path]
            waiting += reversed(self._children.get(path, []))

    def _found(self, path: str) -> Entry | None:
        """The entry that a path leads to, through links; None is the context itself."""
        parts, at, links = path.split("/"), "", 0
        target, rest = "", 0
        while parts:
            part = parts.pop(0)
            at = posixpath.normpath(posixpath.join("/", at, part)).lstrip("/")
            entry = self._entries.get(at)
            if entry is not None and entry.kind is EntryType.LINK and links < _MOST_LINKS:
                target, rest = entry.target, len(parts)
                parts, links = [*target.split("/"), *parts], links + 1
                at = "" if entry.target.startswith("/") else posixpath.dirname(at)
            elif at and entry is None and target and len(parts) >= rest:
                raise NothingToCopy(
                    f"'{path}' leads by a link to '{target}', which is not in the build context",
                    help="put what is to be copied there in place of the link",
                )
            elif at and (entry is None or entry.kind is EntryType.LINK):
                raise NothingToCopy(
                    f"'{path}' is not in the build context",
                    help="look for a misspelt name, or a line of .dockerignore that leaves it out",
                )
        return self._entries.get(at)


def _regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern; a bracket without an end stands for itself."""
    regex = ""
    for escaped, stars, mark, brackets, plain in _TOKEN.findall(pattern):
        if stars:
            regex += "[^/]*"
        elif mark:
            regex += "[^/]"
        elif brackets:
            inner = re.sub(r"\\?([\W\w])", _in_brackets, brackets[1:-1].removeprefix("^"))
            regex += f"[{'^' if brackets.startswith('[^') else ''}{inner}]"
        else:
            regex += re.escape(escaped or plain)
    return re.compile(regex, re.DOTALL)


def _in_brackets(char: re.Match[str]) -> str:
    """A character of a pattern's brackets as one of a regular expression's."""
    return "-" if char[0] == "-" else re.escape(char[1])
