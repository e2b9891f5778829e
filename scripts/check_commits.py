"""Check the style of commit messages, as CONTRIBUTING.md describes it.

    python -m scripts.check_commits                  # all commits since the last release
    python -m scripts.check_commits --message FILE   # the message in FILE (Git's commit-msg hook)

A subject starts with the component that changes, `worker: ignore truncated pid files`, and has at
most 72 characters. An empty line separates it from the body, whose lines have at most 72 characters
too. A line that is a single word (a URL) or indented (quoted output) may be longer.

Commits are checked from the last release tag to HEAD; without a tag, from the first commit that
follows this style. A shallow clone is checked as far as it goes back. Outside of a Git repository
nothing is checked.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAST_OF_ANOTHER_STYLE = "9c92efdc27d4"
"""The parent of the first commit that has to follow the style."""
MAX_LENGTH = 72
SUBJECT = re.compile(r"[a-z0-9_/.-]+(, ?[a-z0-9_/.-]+)*: \S")
WRITTEN_BY_GIT = re.compile(r"(fixup|squash|amend)! |Merge ")
SCISSORS = "# ------------------------ >8 ------------------------"


def problems(message: str) -> Iterator[str]:
    """Yield what is wrong with a commit message, one sentence per problem."""
    subject, *rest = message.rstrip("\n").split("\n")
    if not SUBJECT.match(subject):
        yield "the subject has no component prefix, as in 'worker: ignore truncated pid files'"
    if len(subject) > MAX_LENGTH:
        yield f"the subject has {len(subject)} characters, more than {MAX_LENGTH}"
    if rest and rest[0]:
        yield "the second line is not empty"
    for line in rest:
        if len(line) > MAX_LENGTH and " " in line and not line.startswith((" ", "\t")):
            yield f"a line of the body has {len(line)} characters, more than {MAX_LENGTH}: {line!r}"


def _read(path: Path) -> str:
    """Return a message as Git stores it: without comments and the diff of `commit --verbose`."""
    text = path.read_text("utf-8").split(SCISSORS)[0]
    return "\n".join(line for line in text.split("\n") if not line.startswith("#")).strip("\n")


class NothingToCheck(Exception):
    """There are no commits to check; the message says why."""


def commits(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the abbreviated id and the message of each commit to check, newest first.

    Raises `NothingToCheck`.
    """
    log = _git(root, "log", "--no-merges", "--format=%h%x00%B%x01", *_revisions(root)) or ""
    for entry in log.split("\x01"):
        commit, _, message = entry.strip("\n").partition("\0")
        if commit:
            yield commit, message


def _revisions(root: Path) -> list[str]:
    """Return the range of commits for `git log`."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.rstrip("\n")) != root.resolve():
        raise NothingToCheck("this folder is not a Git repository")
    if _git(root, "rev-parse", "--verify", "HEAD") is None:
        raise NothingToCheck("this Git repository has no commits")
    if tag := _git(root, "describe", "--tags", "--abbrev=0", "--match", "v*"):
        return [f"{tag.strip()}..HEAD"]
    if _git(root, "merge-base", "--is-ancestor", LAST_OF_ANOTHER_STYLE, "HEAD") is not None:
        return [f"{LAST_OF_ANOTHER_STYLE}..HEAD"]
    if (_git(root, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
        return ["HEAD"]
    raise NothingToCheck(f"neither a release tag nor commit {LAST_OF_ANOTHER_STYLE} is reachable")


def _git(root: Path, *args: str) -> str | None:
    """Return what a Git command prints, or None if it fails or Git is not installed."""
    try:
        done = subprocess.run(
            ["git", *args], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def main(args: list[str], root: Path = ROOT) -> int:
    """Check one message or all commits, print the problems, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--message", metavar="FILE", type=Path, help="Check the message in FILE.")
    given: Path | None = parser.parse_args(args).message
    try:
        found = [("message", _read(given))] if given else list(commits(root))
    except NothingToCheck as reason:
        print(f"Commit messages are not checked: {reason}.")
        return 0
    if given and WRITTEN_BY_GIT.match(found[0][1]):  # fixups are squashed before they are pushed
        return 0
    wrong = [f"{commit}: {problem}" for commit, text in found for problem in problems(text)]
    print("\n".join(wrong or [f"Commit messages checked: {len(found)}."]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
