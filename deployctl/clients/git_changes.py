"""What changed in a checkout since a revision, uncommitted and untracked files included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployctl.clients import process
from deployctl.core.errors import ProgramError

_TIMEOUT = 60.0
_SHALLOW = (
    "This checkout has no full history: fetch it, with `fetch-depth: 0` for actions/checkout, "
    "`GIT_DEPTH: 0` in GitLab CI, or `git fetch --unshallow`."
)


@dataclass(frozen=True, slots=True)
class Changes:
    """The files of a checkout that are not as they were at a commit."""

    root: Path
    commit: str
    files: frozenset[Path]
    """Absolute paths; also of files that are gone. A submodule is one path."""

    def has(self, file: Path) -> bool:
        """Whether a file, given by its absolute path, or the submodule that it is in changed."""
        return file in self.files or not self.files.isdisjoint(file.parents)

    def read(self, file: Path) -> str | None:
        """The text that a file had; None if it was not there. Raises ProgramError."""
        if not file.is_relative_to(self.root):
            return None
        name = f"{self.commit}:{file.relative_to(self.root).as_posix()}"
        done = _git(self.root, "show", name)
        return None if done.returncode else done.stdout


def read_changes(folder: Path, revision: str) -> Changes:
    """What changed since a revision in the checkout that a folder is in.

    Raises ProgramError without git, outside of a checkout, and for an unknown revision.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top.returncode:
        reason = (top.stderr.strip().splitlines() or ["it is no checkout"])[0]
        raise ProgramError(
            f"git cannot tell what changed in '{folder}': {reason}",
            help="Run the command in a git checkout, or leave --changed-since out.",
        )
    root = Path(top.stdout.rstrip("\n"))
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found.returncode or revision.startswith("-"):
        is_shallow = _git(root, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        raise ProgramError(
            f"git knows no revision '{revision}' here",
            help=_SHALLOW
            if is_shallow
            else "Name a commit, branch or tag of this checkout. A branch of the remote may have "
            "to be fetched first: `git fetch origin`, then origin/NAME.",
        )
    commit = found.stdout.strip()
    names = [
        *_names(root, "-c", "diff.relative=false", "diff", "--name-only", "--no-renames", commit),
        *_names(root, "ls-files", "--others", "--exclude-standard"),
    ]
    return Changes(root, commit, frozenset(root / name for name in names))


def _names(root: Path, *arguments: str) -> Iterator[str]:
    """The names that git lists. Raises ProgramError."""
    done = _git(root, *arguments, "-z")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it failed"])[0]
        raise ProgramError(f"git cannot list what changed: {reason}")
    return filter(None, done.stdout.split("\0"))


def _git(folder: Path, *arguments: str) -> process.CompletedProgram:
    return process.run(["git", *arguments], cwd=folder, env=None, timeout=_TIMEOUT)
