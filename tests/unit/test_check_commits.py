"""The check of commit messages in `make lint` and in the commit-msg hook."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts.check_commits import main, problems

LONG = "word " * 15
GOOD = "worker: ignore truncated pid files\n\nA power failure leaves empty ones.\n"


def git(folder: Path, *args: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, message: str) -> None:
    git(folder, "commit", "--allow-empty", "--no-verify", "-m", message)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet")
    return folder


@pytest.mark.parametrize(
    "message",
    [
        "worker: ignore truncated pid files",
        GOOD,
        "api, core: name errors\n\nSee\nhttps://example.com/" + "x" * 80,
        "docs: show an error\n\n    " + LONG,
    ],
)
def test_good_messages_have_no_problems(message: str) -> None:
    assert list(problems(message)) == []


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Ignore truncated pid files", "the subject has no component prefix"),
        ("Worker: ignore pid files", "the subject has no component prefix"),
        ("worker:", "the subject has no component prefix"),
        ("worker: " + LONG, "the subject has 83 characters"),
        ("worker: ignore\nthe body", "the second line is not empty"),
        ("worker: ignore\n\n" + LONG, "a line of the body has 75 characters"),
    ],
)
def test_problem_is_named(message: str, problem: str) -> None:
    [found] = problems(message)
    assert found.startswith(problem)


def test_commits_since_the_last_release_are_checked(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "An old style")
    git(repository, "tag", "v1.0")
    commit(repository, GOOD)
    assert main([], repository) == 0
    assert capsys.readouterr().out == "Commit messages checked: 1.\n"
    commit(repository, "A new commit in the old style")
    assert main([], repository) == 1
    assert "the subject has no component prefix" in capsys.readouterr().out


def test_shallow_clone_is_checked_as_far_as_it_goes_back(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(repository, "An old style")
    commit(repository, GOOD)
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "clone")
    assert main([], tmp_path / "clone") == 0
    assert capsys.readouterr().out == "Commit messages checked: 1.\n"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ([], "this folder is not a Git repository"),
        ([["init"]], "this Git repository has no commits"),
        (
            [["init"], ["commit", "--allow-empty", "--no-verify", "-m", "Old"]],
            "neither a release tag nor commit",
        ),
    ],
)
def test_reason_is_printed_where_nothing_can_be_checked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prepare: list[list[str]],
    reason: str,
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for args in prepare:
        git(tmp_path, *args)
    assert main([], tmp_path) == 0
    assert f"Commit messages are not checked: {reason}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GOOD + "# " + LONG, 0),
        ("# Enter a message\n" + GOOD, 0),
        (GOOD + "# ------------------------ >8 ------------------------\n" + LONG, 0),
        ("fixup! " + GOOD, 0),
        ("Merge branch 'main' into topic", 0),
        ("Something", 1),
    ],
)
def test_message_of_the_commit_hook_is_checked(tmp_path: Path, text: str, code: int) -> None:
    path = tmp_path / "COMMIT_EDITMSG"
    path.write_text(text)
    assert main(["--message", str(path)]) == code
