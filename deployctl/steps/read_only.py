"""Which command lines only read a git repository, so that a plan may run them.

A version or tag such as `git rev-parse --short HEAD` is then known in a plan. Only what certainly
writes nothing and starts no other program counts; everything else waits for the build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

_GLOBAL_OPTIONS = frozenset({"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs"})
"""Options of git itself without a value that change nothing."""
_FORBIDDEN = ("--o", "--ext", "--text", "--filter", "--show-sig", "--open", "--exec")
"""Beginnings of options that write files or start programs, also in their abbreviated forms."""
_HARMLESS = frozenset({"--oneline", "--objects", "--only-untracked"})
"""Options that begin like forbidden ones."""

_Check = Callable[[Sequence[str]], bool]


def _any(_arguments: Sequence[str]) -> bool:
    return True


def _first_is(*options: str) -> _Check:
    return lambda arguments: bool(arguments) and arguments[0] in options


def _reads_symbolic_ref(arguments: Sequence[str]) -> bool:
    """With a second name, the reference would be set; with -d, deleted."""
    names = [each for each in arguments if not each.startswith("-")]
    options = set(arguments) - set(names)
    return len(names) == 1 and options <= {"-q", "--quiet", "--short", "--recurse"}


def _is_current_branch(arguments: Sequence[str]) -> bool:
    return list(arguments) == ["--show-current"]


_READING: Mapping[str, _Check] = {
    **dict.fromkeys(("rev-parse", "describe", "rev-list", "log", "show", "show-ref"), _any),
    **dict.fromkeys(("ls-files", "ls-tree", "cat-file", "merge-base", "name-rev"), _any),
    **dict.fromkeys(("for-each-ref", "diff", "diff-tree", "status", "shortlog"), _any),
    "symbolic-ref": _reads_symbolic_ref,
    "branch": _is_current_branch,
    "tag": _first_is("-l", "--list", "--points-at"),
    "config": _first_is("--get", "--get-all", "get"),
    "remote": _first_is("get-url"),
}
"""Subcommand → whether it only reads with these arguments."""
ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0"}
"""Keeps `git status` and `git describe --dirty` from refreshing the index file."""


def only_reads_git(argv: Sequence[str]) -> bool:
    """Whether a program line is a git command that only reads."""
    if not argv or argv[0] != "git":
        return False
    rest = list(argv[1:])
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option == "-C" and rest:
            rest.pop(0)
        elif option not in _GLOBAL_OPTIONS:
            return False
    if not rest or rest[0] not in _READING:
        return False
    command, *arguments = rest
    risky = any(each.startswith(_FORBIDDEN) and each not in _HARMLESS for each in arguments)
    return not risky and _READING[command](arguments)
