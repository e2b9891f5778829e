"""The commit is inferred as by the real Prefect."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.git import read_checkout
from deployctl.steps.version import commit_info
from tests.support.environment import isolated

SHA = "the commit that is checked out"
CASES: dict[str, dict[str, str]] = {
    "git": {},
    "github": {
        "GITHUB_SHA": SHA,
        "GITHUB_REF_NAME": "main",
        "GITHUB_REPOSITORY": "org/repo",
        "GITHUB_SERVER_URL": "https://github.com",
    },
    "gitlab": {
        "CI_COMMIT_SHA": SHA,
        "CI_COMMIT_REF_NAME": "main",
        "CI_PROJECT_NAME": "repo",
        "CI_PROJECT_URL": "https://gitlab.com/org/repo",
    },
    "bitbucket": {
        "BITBUCKET_COMMIT": SHA,
        "BITBUCKET_BRANCH": "main",
        "BITBUCKET_REPO_SLUG": "repo",
        "BITBUCKET_GIT_HTTP_ORIGIN": "https://bitbucket.org/org/repo",
    },
    "azuredevops": {
        "BUILD_SOURCEVERSION": SHA,
        "BUILD_SOURCEBRANCHNAME": "main",
        "BUILD_REPOSITORY_NAME": "repo",
        "BUILD_REPOSITORY_URI": "https://dev.azure.com/org/_git/repo",
    },
    "half of github": {"GITHUB_SHA": SHA},
}
PREFECTS_SIDE = """
import asyncio, json, os, sys
from prefect._internal.versioning import get_inferred_version_info

def infer(variables):
    os.environ.update(variables)
    found = asyncio.run(get_inferred_version_info())
    for name in variables:
        del os.environ[name]
    return found.model_dump()

print("ANSWER " + json.dumps([infer(variables) for variables in json.load(sys.stdin)]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for arguments in (
        ["init", "-b", "trunk"],
        ["remote", "add", "origin", "https://git.example/org/repo.git"],
        ["commit", "--allow-empty", "-m", "First line\n\nMore"],
    ):
        identity = ["-c", "user.name=n", "-c", "user.email=n@example.invalid"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def test_commit_is_inferred_as_by_prefect(prefect3_python: Path, checkout: Path) -> None:
    here = read_checkout(checkout)
    assert here is not None
    cases = [
        {name: here.sha if value == SHA else value for name, value in variables.items()}
        for variables in CASES.values()
    ]
    done = subprocess.run(
        [prefect3_python, "-c", PREFECTS_SIDE],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        cwd=checkout,
        env=isolated(checkout.parent),
    )
    theirs: list[Any] = json.loads(done.stdout.rpartition("ANSWER ")[2])
    assert [commit_info(variables, here) for variables in cases] == theirs
