"""The version of a deployment: declared, or inferred from the commit of the code.

The order is Prefect's: the value of the file or a flag, else the first eight letters of the commit,
else the version of the flow. The commit comes from the variables of four CI systems, else from git.
One difference: a CI system's variables are enough, without git and a checkout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from deployctl.clients.git import Checkout
from deployctl.core import redact
from deployctl.core.json_values import Json

SIMPLE = "prefect:simple"
GIT = "vcs:git"


@dataclass(frozen=True, slots=True)
class Version:
    """The version of one deployment."""

    text: str | None
    info: Mapping[str, Json]
    """For servers that have `version_info`: type, version, and what is known of the commit."""
    inferred: bool
    """Whether it was not declared; then it alone is no reason to update the deployment."""


@dataclass(frozen=True, slots=True)
class _Ci:
    """The environment variables in which a CI system describes its checkout."""

    sha: str
    branch: str
    repository: str
    site: str
    url: str
    """A format string of `{site}`, `{repository}` and `{sha}`."""


_CI = {
    "vcs:github": _Ci(
        "GITHUB_SHA",
        "GITHUB_REF_NAME",
        "GITHUB_REPOSITORY",
        "GITHUB_SERVER_URL",
        "{site}/{repository}/tree/{sha}",
    ),
    "vcs:gitlab": _Ci(
        "CI_COMMIT_SHA",
        "CI_COMMIT_REF_NAME",
        "CI_PROJECT_NAME",
        "CI_PROJECT_URL",
        "{site}/-/tree/{sha}",
    ),
    "vcs:bitbucket": _Ci(
        "BITBUCKET_COMMIT",
        "BITBUCKET_BRANCH",
        "BITBUCKET_REPO_SLUG",
        "BITBUCKET_GIT_HTTP_ORIGIN",
        "{site}/src/{sha}",
    ),
    "vcs:azuredevops": _Ci(
        "BUILD_SOURCEVERSION",
        "BUILD_SOURCEBRANCHNAME",
        "BUILD_REPOSITORY_NAME",
        "BUILD_REPOSITORY_URI",
        "{site}?version=GC{sha}",
    ),
}
_FILE_HASH = re.compile(r"[0-9a-f]{32}")


def commit_info(
    environ: Mapping[str, str], checkout: Checkout | None, version_type: str | None = None
) -> dict[str, Json] | None:
    """What is known of the commit: from CI variables, else from git; None if nothing is.

    With a `version_type`, only that source counts; `prefect:simple` means none.
    """
    candidates = (*_from_ci(environ, checkout), *_from_git(checkout))
    for info in candidates:
        if version_type in (None, info["type"]):
            return info
    return None


def resolve_version(
    declared: str | None, flow_version: str | None, commit: Mapping[str, Json] | None
) -> Version:
    """The version of a deployment whose flow has `flow_version`.

    A flow's version counts as declared, unless it is the hash of its file, Prefect's default.
    """
    text = declared or (commit["version"] if commit else flow_version)
    of_flow = not commit and flow_version and not _FILE_HASH.fullmatch(flow_version)
    info = {**(commit or {"type": SIMPLE}), "version": text or ""}
    return Version(text, info, inferred=not (declared or of_flow))


def _from_ci(environ: Mapping[str, str], checkout: Checkout | None) -> Iterator[dict[str, Json]]:
    for type_, ci in _CI.items():
        sha, branch, repository = (
            environ.get(name, "") for name in (ci.sha, ci.branch, ci.repository)
        )
        if sha and branch and repository:
            site = redact.strip_userinfo(environ.get(ci.site, ""))
            url = ci.url.format(site=site, repository=repository, sha=sha)
            message = checkout.message if checkout and checkout.sha == sha else ""
            yield _info(type_, sha, message, branch, repository, url)


def _from_git(checkout: Checkout | None) -> Iterator[dict[str, Json]]:
    if checkout and checkout.url:
        path = urlsplit(checkout.url).path if "://" in checkout.url else checkout.url
        path = path.rpartition(":")[2].strip("/").removesuffix(".git")
        yield _info(GIT, checkout.sha, checkout.message, checkout.branch, path, checkout.url)


def _info(
    type_: str, sha: str, message: str, branch: str, repository: str, url: str
) -> dict[str, Json]:
    return {
        "type": type_,
        "version": sha[:8],
        "commit_sha": sha,
        "message": message,
        "branch": branch,
        "repository": repository,
        "url": url,
    }
