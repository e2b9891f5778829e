"""Git: the checkout around a folder, and fetching of repositories.

A password is passed to git through a one-line credential helper that reads it from the environment.
So it appears neither in the arguments of a process, nor in a file that git writes, nor in the store
of another credential helper.
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

_READ_TIMEOUT = 10.0
_LOCK_POLL_INTERVAL = 0.1
_CREDENTIAL_HELPER = """!f() { [ "$1" != get ] || printf 'username=%s\\npassword=%s\\n' \
"$DEPLOYCTL_GIT_USER" "$DEPLOYCTL_GIT_PASSWORD"; }; f"""
_HOOK_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
)
"""Variables that git sets for its hooks, and that would point git to another repository."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """The commit that is checked out, and where it came from."""

    sha: str
    message: str
    """The first line of the commit message."""
    branch: str
    """`HEAD` if no branch is checked out, as on most CI machines."""
    url: str
    """URL of the remote `origin`, without credentials; "" without such a remote."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What to fetch from a remote repository."""

    url: str
    """URL without a password."""
    branch: str | None = None
    """A branch or tag. Without this and `commit`, the default branch is fetched."""
    commit: str | None = None
    """The full object name of a commit."""
    directories: Sequence[str] = ()
    """Directories for a sparse checkout; empty: everything."""
    submodules: bool = False
    site: str = ""
    """The `https://host` that `username` and `password` are for; "" if there are none."""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


def read_checkout(folder: Path) -> Checkout | None:
    """Reads the checkout that contains `folder`.

    None without git, outside a repository, and before the first commit.
    """
    try:
        commit = _read(folder, "log", "-1", "--no-show-signature", "--format=%H%n%B")
        if not commit:
            return None
        branch = _read(folder, "rev-parse", "--abbrev-ref", "HEAD")
        url = _read(folder, "config", "--get", "remote.origin.url")
    except ProgramError:
        return None
    sha, _, message = commit.partition("\n")
    first_line = message.strip().partition("\n")[0]
    return Checkout(sha, first_line, branch, redact.strip_userinfo(url))


def _read(folder: Path, *arguments: str) -> str:
    done = process.run(["git", *arguments], cwd=folder, env=None, timeout=_READ_TIMEOUT)
    return "" if done.returncode else done.stdout.strip()


def fetch(
    remote: Remote, folder: Path, env: Mapping[str, str], cancellation: CancellationToken
) -> None:
    """Clones the newest commit into `folder`, without history, or updates an existing clone.

    An update that would lose local changes fails. Raises ProgramError, also if `folder` is
    something else, and Interrupted.
    """
    git = _Git(remote, env, cancellation)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent, cancellation):
            if (folder / ".git").exists():
                git.update(folder)
                return
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".git-clone-") as scratch:
                clone = Path(scratch) / folder.name
                git.clone(clone)
                clone.rename(folder)
    except OSError as error:
        raise ProgramError(f"'{folder}' cannot be created: {error.strerror}") from error


@contextmanager
def _locked(folder: Path, cancellation: CancellationToken) -> Iterator[None]:
    """Holds a lock on `folder`, so that one process at a time clones into it.

    Raises Interrupted and OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                cancellation.wait(_LOCK_POLL_INTERVAL)
                cancellation.raise_if_cancelled()
        yield
    finally:
        os.close(descriptor)


class _Git:
    """Runs git with the credentials of one remote."""

    def __init__(
        self, remote: Remote, env: Mapping[str, str], cancellation: CancellationToken
    ) -> None:
        self._remote, self._cancellation = remote, cancellation
        self._env = {
            **{name: value for name, value in env.items() if name not in _HOOK_VARIABLES},
            "GIT_TERMINAL_PROMPT": "0",
            "DEPLOYCTL_GIT_USER": remote.username,
            "DEPLOYCTL_GIT_PASSWORD": remote.password,
        }
        helper = f"credential.{remote.site}.helper"
        # The empty value removes the helpers of the user's configuration.
        self._options = (
            ["-c", f"{helper}=", "-c", f"{helper}={_CREDENTIAL_HELPER}"] if remote.site else []
        )

    def run(self, folder: Path, *arguments: str) -> str:
        """Runs git in a folder and returns its output. Repositories above `folder` are ignored."""
        done = process.run(
            ["git", *self._options, *arguments],
            cwd=folder,
            env={**self._env, "GIT_CEILING_DIRECTORIES": str(folder.parent)},
            timeout=None,
            cancellation=self._cancellation,
        )
        if done.returncode:
            last_lines = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise ProgramError(
                f"'git {arguments[0]}' of '{self._remote.url}' failed:\n{last_lines}"
            )
        return done.stdout

    def update(self, folder: Path) -> None:
        """Brings an existing clone up to date."""
        origin = self.run(folder, "config", "--local", "--get", "remote.origin.url").strip()
        if redact.strip_userinfo(origin) != redact.strip_userinfo(self._remote.url):
            raise ProgramError(
                f"'{folder}' is a clone of '{redact.strip_userinfo(origin)}'",
                help="Choose another folder with 'clone_directory_name'.",
            )
        self.fetch(folder, self._remote.commit or self._remote.branch or "HEAD")
        self.check_out(folder, "--detach", "FETCH_HEAD")

    def clone(self, folder: Path) -> None:
        """Creates a clone and checks it out."""
        commit, branch = self._remote.commit, self._remote.branch
        options = ["--quiet", "--no-checkout", "--depth=1"]
        options += [f"--branch={branch}"] if branch else []
        self.run(folder.parent, "clone", *options, "--", self._remote.url, str(folder))
        if commit:
            self.fetch(folder, commit)
        self.check_out(folder, *(["--detach", "FETCH_HEAD"] if commit else []))

    def fetch(self, folder: Path, ref: str) -> None:
        """Fetches a branch, tag or commit as `FETCH_HEAD`."""
        self.run(folder, "fetch", "--quiet", "--depth=1", "--", self._remote.url, ref)

    def is_sparse(self, folder: Path) -> bool:
        """Whether an earlier step limited the clone to some directories."""
        setting = ("--type=bool", "--default=false", "--get", "core.sparseCheckout")
        return self.run(folder, "config", *setting).strip() == "true"

    def check_out(self, folder: Path, *arguments: str) -> None:
        """Writes the files of a commit, and the submodules if they are requested."""
        if self._remote.directories:
            self.run(folder, "sparse-checkout", "set", "--", *self._remote.directories)
        elif self.is_sparse(folder):
            self.run(folder, "sparse-checkout", "disable")
        self.run(folder, "checkout", "--quiet", *arguments)
        if self._remote.submodules:
            self.run(folder, "submodule", "--quiet", "update", "--init", "--recursive")
