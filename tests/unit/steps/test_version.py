from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.git import Checkout, read_checkout
from deployctl.steps.version import commit_info, resolve_version

SHA = "0123456789abcdef0123456789abcdef01234567"
CHECKOUT = Checkout(SHA, "Add it", "main", "https://git.example/org/repo.git")
GITHUB = {
    "GITHUB_SHA": SHA,
    "GITHUB_REF_NAME": "main",
    "GITHUB_REPOSITORY": "org/repo",
    "GITHUB_SERVER_URL": "https://github.com",
}


@pytest.mark.parametrize(
    ("environ", "type_", "repository", "url"),
    [
        (GITHUB, "vcs:github", "org/repo", f"https://github.com/org/repo/tree/{SHA}"),
        (
            {
                "CI_COMMIT_SHA": SHA,
                "CI_COMMIT_REF_NAME": "main",
                "CI_PROJECT_NAME": "repo",
                "CI_PROJECT_URL": "https://gitlab.com/org/repo",
            },
            "vcs:gitlab",
            "repo",
            f"https://gitlab.com/org/repo/-/tree/{SHA}",
        ),
        (
            {
                "BITBUCKET_COMMIT": SHA,
                "BITBUCKET_BRANCH": "main",
                "BITBUCKET_REPO_SLUG": "repo",
                "BITBUCKET_GIT_HTTP_ORIGIN": "https://bitbucket.org/org/repo",
            },
            "vcs:bitbucket",
            "repo",
            f"https://bitbucket.org/org/repo/src/{SHA}",
        ),
        (
            {
                "BUILD_SOURCEVERSION": SHA,
                "BUILD_SOURCEBRANCHNAME": "main",
                "BUILD_REPOSITORY_NAME": "repo",
                "BUILD_REPOSITORY_URI": "https://me:token@dev.azure.com/org/_git/repo",
            },
            "vcs:azuredevops",
            "repo",
            f"https://dev.azure.com/org/_git/repo?version=GC{SHA}",
        ),
        ({}, "vcs:git", "org/repo", "https://git.example/org/repo.git"),
    ],
)
def test_commit_comes_from_ci_variables_else_from_git(
    environ: dict[str, str], type_: str, repository: str, url: str
) -> None:
    assert commit_info(environ, CHECKOUT) == {
        "type": type_,
        "version": "01234567",
        "commit_sha": SHA,
        "message": "Add it",
        "branch": "main",
        "repository": repository,
        "url": url,
    }


@pytest.mark.parametrize(
    ("environ", "checkout", "version_type", "expected"),
    [
        ({}, None, None, None),
        ({"GITHUB_SHA": SHA}, None, None, None),
        (GITHUB, None, None, "vcs:github"),
        (GITHUB, CHECKOUT, "vcs:git", "vcs:git"),
        (GITHUB, CHECKOUT, "prefect:simple", None),
        ({}, CHECKOUT, "vcs:gitlab", None),
        ({}, Checkout(SHA, "m", "main", ""), None, None),
    ],
)
def test_version_type_selects_the_source(
    environ: dict[str, str], checkout: Checkout | None, version_type: str | None, expected: Any
) -> None:
    info = commit_info(environ, checkout, version_type)
    assert (info and info["type"]) == expected


@pytest.mark.parametrize("url", ["git@git.example:org/repo.git", "ssh://git@git.example/org/repo"])
def test_repository_name_is_the_same_for_all_kinds_of_remotes(url: str) -> None:
    info = commit_info({}, Checkout(SHA, "m", "main", url))
    assert info is not None
    assert info["repository"] == "org/repo"


FILE_HASH = "d41d8cd98f00b204e9800998ecf8427e"
COMMIT = {"type": "vcs:git", "version": "01234567", "commit_sha": SHA}


@pytest.mark.parametrize(
    ("declared", "flow_version", "commit", "text", "inferred", "type_"),
    [
        ("1.10", "f", COMMIT, "1.10", False, "vcs:git"),
        ("1.10", None, None, "1.10", False, "prefect:simple"),
        (None, "2", COMMIT, "01234567", True, "vcs:git"),
        (None, "2", None, "2", False, "prefect:simple"),
        (None, FILE_HASH, None, FILE_HASH, True, "prefect:simple"),
        (None, None, None, None, True, "prefect:simple"),
        ("", "2", None, "2", False, "prefect:simple"),
    ],
)
def test_declared_version_comes_first(
    declared: str | None,
    flow_version: str | None,
    commit: dict[str, Any] | None,
    text: str | None,
    inferred: bool,
    type_: str,
) -> None:
    version = resolve_version(declared, flow_version, commit)
    assert (version.text, version.inferred) == (text, inferred)
    assert (version.info["type"], version.info["version"]) == (type_, text or "")


EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.invalid"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_git_returns_commit_branch_and_remote_without_credentials(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-b", "trunk")
    assert read_checkout(tmp_path) is None
    _git(tmp_path, "commit", "--allow-empty", "-m", "First line\n\nMore")
    _git(tmp_path, "remote", "add", "origin", "https://me:hunter2@git.example/org/repo.git")
    checkout = read_checkout(tmp_path)
    assert checkout is not None
    assert (checkout.message, checkout.branch) == ("First line", "trunk")
    assert checkout.url == "https://git.example/org/repo.git"
    assert len(checkout.sha) == 40


def test_output_about_signatures_is_not_part_of_the_commit(tmp_path: Path) -> None:
    _git(tmp_path, "init")
    _git(tmp_path, "config", "log.showSignature", "true")
    signature = "gpgsig -----BEGIN SSH SIGNATURE-----\n A\n -----END SSH SIGNATURE-----"
    (tmp_path / "commit").write_text(
        f"tree {EMPTY_TREE}\nauthor n <e> 0 +0000\ncommitter n <e> 0 +0000\n{signature}\n\nFirst\n"
    )
    sha = _git(tmp_path, "hash-object", "-t", "commit", "-w", "commit").strip()
    _git(tmp_path, "update-ref", "HEAD", sha)
    checkout = read_checkout(tmp_path)
    assert checkout is not None
    assert (checkout.sha, checkout.message) == (sha, "First")


def test_no_commit_outside_a_repository(tmp_path: Path) -> None:
    assert read_checkout(tmp_path) is None
