"""The step `git_clone`: a checkout of another repository.

Its outputs are those of Prefect's function of this name. Two things differ: a password is never
part of the repository's URL, even if the file writes it there; and an existing checkout isn't
deleted if it can't be updated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from deployctl.clients.git import Remote, fetch
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext

_COMMIT = re.compile(r"[0-9a-fA-F]{4,64}")


def git_clone(
    context: StepContext,
    _name: str,
    *,
    repository: str,
    branch: str | None = None,
    commit_sha: str | None = None,
    include_submodules: bool = False,
    access_token: str | None = None,
    credentials: Mapping[str, Json] | None = None,
    directories: Sequence[str] = (),
    clone_directory_name: str | None = None,
) -> dict[str, Json]:
    """Fetches a repository; returns its `directory` relative to the step's folder.

    `credentials` is a block of GitHub, GitLab or BitBucket, or its fields. Raises ProgramError.
    """
    given = {"access_token": access_token, "credentials": credentials}
    check_clone_inputs({**given, "branch": branch, "commit_sha": commit_sha})
    if branch and branch.startswith("-"):
        raise ProgramError(f"'{branch}' is not the name of a branch")
    if commit_sha and not _COMMIT.fullmatch(commit_sha):
        raise ProgramError(
            f"'{commit_sha}' is not the name of a commit", help="Write a branch or tag as 'branch'."
        )
    url, site, login = _access(repository, credentials or {"token": access_token})
    folder = context.folder / (clone_directory_name or _folder_name(repository, branch))
    remote = Remote(
        url, branch, commit_sha, tuple(directories), bool(include_submodules), site, *login
    )
    fetch(remote, folder, context.environ, context.cancellation)
    return {"directory": os.path.relpath(folder, context.folder)}


def check_clone_inputs(inputs: Mapping[str, Json]) -> None:
    """Raises ProgramError for inputs that exclude each other, as Prefect does."""
    for one, other in (("access_token", "credentials"), ("branch", "commit_sha")):
        if inputs.get(one) and inputs.get(other):
            raise ProgramError(f"'{one}' and '{other}' exclude each other")


def _folder_name(repository: str, branch: str | None) -> str:
    """The name that Prefect gives the folder."""
    last = urlsplit(repository).path.rstrip("/").rpartition("/")[2].replace(".git", "")
    return "-".join(filter(None, [last, (branch or "").replace("/", "-")]))


def _access(
    repository: str, credentials: Mapping[str, Json]
) -> tuple[str, str, tuple[str, str] | tuple[()]]:
    """The URL without a password, the site that needs one, and the user and password for it."""
    parts = urlsplit(repository)
    host = parts.netloc.rpartition("@")[2]
    tokens = [credentials.get(key) for key in ("access_token", "token", "password")]
    token = next((str(each).strip() for each in tokens if each), "")
    if parts.scheme == "https" and token:
        login = _login(host, str(credentials.get("username") or ""), token)
    elif parts.scheme in ("http", "https") and parts.password:
        login = unquote(parts.username or ""), unquote(parts.password)
    elif credentials.get("username") and not token:
        raise ProgramError("the credentials have a username, but no token or password")
    else:
        return repository, "", ()
    return parts._replace(netloc=host).geturl(), f"{parts.scheme}://{host}", login


def _login(host: str, username: str, token: str) -> tuple[str, str]:
    """User and password as the site expects them, by Prefect's rules for host names."""
    if username:
        return username, token
    if "bitbucketserver" in host and ":" not in token:
        raise ProgramError("BitBucket Server needs a username besides the token")
    if ":" in token and ("bitbucket" in host or "gitlab" in host):
        user, _, password = token.partition(":")
        return user, password
    if "bitbucket" in host:
        return "x-token-auth", token
    return ("oauth2", token) if "gitlab" in host else (token, "")
