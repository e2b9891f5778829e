"""What git knows about a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployctl.clients import process
from deployctl.core import redact
from deployctl.core.errors import ProgramError

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit that is checked out, and where it came from."""

    sha: str
    message: str
    """The first line of it."""
    branch: str
    """`HEAD` where no branch is checked out, as on most CI machines."""
    url: str
    """Of the remote `origin`, without credentials; "" if there is none."""


def read_checkout(folder: Path) -> Checkout | None:
    """The checkout around `folder`; None without git, outside a repository or before a commit."""
    try:
        commit = _git(folder, "log", "-1", "--format=%H%n%B")
        branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
        url = _git(folder, "config", "--get", "remote.origin.url")
    except ProgramError:
        return None
    if not commit:
        return None
    sha, _, message = commit.partition("\n")
    first_line = message.strip().partition("\n")[0]
    return Checkout(sha, first_line, branch, redact.without_user(url))


def _git(folder: Path, *arguments: str) -> str:
    done = process.run(["git", *arguments], cwd=folder, env=None, timeout=_SECONDS)
    return "" if done.returncode else done.stdout.strip()
