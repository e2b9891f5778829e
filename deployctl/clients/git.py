"""What git knows about a folder, and repositories that it fetches.

A password goes to git by a credential helper of one line, which reads it from the environment: so
it stands in no process's arguments, and in no file that git leaves behind or another helper keeps.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.clients import process
from deployctl.core import redact
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ProgramError

_SECONDS = 10.0
_SECONDS_BETWEEN_LOOKS = 0.1
_HELPER = """!f() { [ "$1" != get ] || printf 'username=%s\\npassword=%s\\n' \
"$DEPLOYCTL_GIT_USER" "$DEPLOYCTL_GIT_PASSWORD"; }; f"""
_OF_A_HOOK = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY")
"""Variables that git sets for what it starts, and that would lead it to another repository."""


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
        commit = _git(folder, "log", "-1", "--no-show-signature", "--format=%H%n%B")
        branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
        url = _git(folder, "config", "--get", "remote.origin.url")
    except ProgramError:
        return None
    if not commit:
        return None
    sha, _, message = commit.partition("\n")
    first_line = message.strip().partition("\n")[0]
    return Checkout(sha, first_line, branch, redact.strip_userinfo(url))


def _git(folder: Path, *arguments: str) -> str:
    done = process.run(["git", *arguments], cwd=folder, env=None, timeout=_SECONDS)
    return "" if done.returncode else done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Remote:
    """What is fetched of a repository."""

    url: str
    """Without a password."""
    branch: str | None = None
    """Or a tag; neither this nor a commit is the repository's own branch."""
    commit: str | None = None
    """All digits of its name."""
    directories: Sequence[str] = ()
    """Only these, and the files above them; empty: all."""
    submodules: bool = False
    site: str = ""
    """`https://host`, for which user and password are; "" if they are for nothing."""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def fetch(remote: Remote, folder: Path, env: Mapping[str, str], stop: CancellationToken) -> None:
    """Makes `folder` a checkout of the newest there is, without history.

    A checkout that is there already is brought up to date, unless changes in it would be lost.
    Raises ProgramError, also where the folder is something else, and Interrupted.
    """
    git = _Git(remote, env, stop)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent, stop):
            if (folder / ".git").exists():
                git.update(folder)
                return
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".git-clone-") as beside:
                new = Path(beside) / folder.name
                git.clone(new)
                new.rename(folder)
    except OSError as error:
        raise ProgramError(f"'{folder}' cannot be made: {error.strerror}") from error


@contextmanager
def _alone(folder: Path, stop: CancellationToken) -> Iterator[None]:
    """Waits until nobody else fetches into this folder. Raises Interrupted and OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.wait(_SECONDS_BETWEEN_LOOKS)
                stop.raise_if_cancelled()
        yield
    finally:
        os.close(descriptor)


class _Git:
    def __init__(self, remote: Remote, env: Mapping[str, str], stop: CancellationToken) -> None:
        self._remote, self._stop = remote, stop
        self._env = {
            **{name: value for name, value in env.items() if name not in _OF_A_HOOK},
            "GIT_TERMINAL_PROMPT": "0",
            "DEPLOYCTL_GIT_USER": remote.username,
            "DEPLOYCTL_GIT_PASSWORD": remote.password,
        }
        helper = f"credential.{remote.site}.helper"
        self._options = ["-c", f"{helper}=", "-c", f"{helper}={_HELPER}"] if remote.site else []

    def run(self, folder: Path, *arguments: str) -> str:
        """What git prints in a folder, which is a repository of its own or none at all."""
        done = process.run(
            ["git", *self._options, *arguments],
            cwd=folder,
            env={**self._env, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
            timeout=None,
            cancellation=self._stop,
        )
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise ProgramError(f"'git {arguments[0]}' of '{self._remote.url}' failed:\n{last}")
        return done.stdout

    def update(self, folder: Path) -> None:
        """Brings a checkout up to date."""
        there = self.run(folder, "config", "--local", "--get", "remote.origin.url").strip()
        if redact.strip_userinfo(there) != redact.strip_userinfo(self._remote.url):
            raise ProgramError(
                f"'{folder}' is a checkout of '{redact.strip_userinfo(there)}'",
                help="name another folder: 'clone_directory_name'",
            )
        self.fetch(folder, self._remote.commit or self._remote.branch or "HEAD")
        self.check_out(folder, "--detach", "FETCH_HEAD")

    def clone(self, folder: Path) -> None:
        """Makes a checkout where there is none."""
        commit, branch = self._remote.commit, self._remote.branch
        options = ["--quiet", "--no-checkout", "--depth=1"]
        options += [f"--branch={branch}"] if branch else []
        self.run(folder.parent, "clone", *options, "--", self._remote.url, str(folder))
        if commit:
            self.fetch(folder, commit)
        self.check_out(folder, *(["--detach", "FETCH_HEAD"] if commit else []))

    def fetch(self, folder: Path, what: str) -> None:
        """Gets a branch, tag or commit, which is `FETCH_HEAD` then."""
        self.run(folder, "fetch", "--quiet", "--depth=1", "--", self._remote.url, what)

    def check_out(self, folder: Path, *what: str) -> None:
        """Writes the files that are wanted."""
        if self._remote.directories:
            self.run(folder, "sparse-checkout", "set", "--", *self._remote.directories)
        self.run(folder, "checkout", "--quiet", *what)
        if self._remote.submodules:
            self.run(folder, "submodule", "--quiet", "update", "--init", "--recursive")
