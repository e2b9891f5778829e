"""`git_clone`, with local repositories."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployctl.core.errors import StepFailed
from deployctl.steps.context import StepContext
from deployctl.steps.engine import run_steps
from deployctl.steps.git import _access
from deployctl.steps.model import Step
from deployctl.templating.render import Scope

PASSWORD = "p:w/d%"
WHO = {
    f"GIT_{who}_{what}": "a@b.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


class Project:
    """A folder in which steps run, and a repository beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.origin = folder / "project", folder / "origin.git"
        self.folder.mkdir()
        self.environ = {**WHO, "PATH": os.environ["PATH"], "HOME": str(folder)}
        self.git("config", "--global", "protocol.file.allow", "always", cwd=folder)
        self.git("init", "-q", "-b", "trunk", str(self.origin), cwd=folder)
        self.first = self.commit("a.txt", "1")

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            ["git", *arguments],
            cwd=cwd or self.origin,
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, name: str, text: str) -> str:
        path = self.origin / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.git("add", ".")
        self.git("commit", "-q", "-m", text)
        return self.git("rev-parse", "HEAD")

    def clone(self, function: str = "deployments.steps.git_clone", **inputs: Any) -> Path:
        """The clone's folder."""
        (clone,) = self.clones([inputs], function)
        return clone

    def clones(
        self, expected: Sequence[Mapping[str, Any]], function: str = "deployments.steps.git_clone"
    ) -> set[Path]:
        """The folders of clones of several deployments."""
        context = StepContext(self.folder, self.environ, sys.executable, lambda *_: None)
        steps = {
            str(number): [
                Step(f"prefect.{function}", {"repository": self.origin.as_uri(), **inputs})
            ]
            for number, inputs in enumerate(expected)
        }
        given = run_steps(steps, Scope(self.environ), context, {})
        return {self.folder / str(each["directory"]) for each in given.values()}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def files(folder: Path) -> dict[str, str]:
    """The files of a checkout, without those of git."""
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts[:1]
    }


@pytest.mark.parametrize(
    ("inputs", "folder"),
    [
        ({}, "origin"),
        ({"branch": "feature/x"}, "origin-feature-x"),
        ({"branch": "v1"}, "origin-v1"),
        ({"clone_directory_name": "deep/down"}, "deep/down"),
        ({"function": "projects.steps.git_clone_project"}, "origin"),
    ],
)
def test_folder_of_clone_is_named_as_by_prefect(
    project: Project, inputs: dict[str, str], folder: str
) -> None:
    for ref in ("feature/x", "tag"):
        project.git("branch" if "/" in ref else "tag", ref if "/" in ref else "v1")
    clone = project.clone(**inputs)
    assert clone == project.folder / folder
    assert files(clone) == {"a.txt": "1"}
    assert {path.name for path in project.folder.iterdir()} == {Path(folder).parts[0]}
    assert project.git("rev-parse", "--abbrev-ref", "HEAD", cwd=clone) == (
        {"feature/x": "feature/x", "v1": "HEAD"}.get(inputs.get("branch", ""), "trunk")
    )


def test_existing_clone_is_updated(project: Project) -> None:
    project.clone()
    project.commit("a.txt", "2")
    project.commit("a.txt", "3")
    clone = project.clone()
    assert files(clone) == {"a.txt": "3"}
    assert files(project.clone(clone_directory_name="origin", commit_sha=project.first)) == {
        "a.txt": "1"
    }


def test_commit_is_checked_out(project: Project) -> None:
    project.commit("a.txt", "2")
    assert files(project.clone(commit_sha=project.first)) == {"a.txt": "1"}


def test_sparse_checkout_of_directories(project: Project) -> None:
    for name in ("in/b.txt", "in/deep/c.txt", "out/d.txt"):
        project.commit(name, name)
    for _ in range(2):
        clone = project.clone(directories=["in"])
        assert set(files(clone)) == {"a.txt", "in/b.txt", "in/deep/c.txt"}


def test_clone_follows_changed_directories(project: Project) -> None:
    for name in ("in/b.txt", "out/c.txt"):
        project.commit(name, name)
    project.clone(directories=["in"])
    assert set(files(project.clone(directories=["out"]))) == {"a.txt", "out/c.txt"}
    assert set(files(project.clone())) == {"a.txt", "in/b.txt", "out/c.txt"}


def test_submodules_are_fetched_on_request(project: Project, tmp_path: Path) -> None:
    project.git("clone", "-q", str(project.origin), str(tmp_path / "below"), cwd=tmp_path)
    project.git("submodule", "--quiet", "add", (tmp_path / "below").as_uri(), "sub")
    project.git("commit", "-q", "-m", "sub")
    assert (project.clone() / "sub" / "a.txt").exists() is False
    for _ in range(2):
        clone = project.clone(include_submodules=True, clone_directory_name="all")
        assert (clone / "sub" / "a.txt").read_text() == "1"


def test_local_changes_in_a_clone_survive(project: Project) -> None:
    clone = project.clone()
    (clone / "a.txt").write_text("mine")
    (clone / "new.txt").write_text("mine")
    assert files(project.clone()) == {"a.txt": "mine", "new.txt": "mine"}
    project.commit("a.txt", "2")
    with pytest.raises(StepFailed, match=r"a\.txt"):
        project.clone()
    assert files(clone) == {"a.txt": "mine", "new.txt": "mine"}


def test_git_hook_of_the_project_has_no_effect(project: Project) -> None:
    project.git("init", "-q", cwd=project.folder)
    project.environ |= {"GIT_DIR": str(project.folder / ".git"), "GIT_WORK_TREE": "."}
    project.clone()
    clone = project.clone()
    assert files(clone) == {"a.txt": "1"}
    shutil.rmtree(clone / ".git")
    (clone / ".git").mkdir()
    with pytest.raises(StepFailed, match="inside a git repository"):
        project.clone()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"branch": "gone"}, "gone"),
        ({"repository": "file:///nonexistent"}, "nonexistent"),
        ({"branch": "a", "commit_sha": "abcd"}, "exclude each other"),
        ({"access_token": "t0ken", "credentials": {"token": "t"}}, "exclude each other"),
        ({"branch": "--upload-pack=touch x"}, "is not the name of a branch"),
        ({"commit_sha": "v1.0"}, "not the name of a commit"),
        ({"credentials": {"username": "me"}}, "no token or password"),
        ({"brunch": "a"}, "Did you mean|has no input"),
        ({"clone_directory_name": "full"}, "cannot be created: Directory not empty"),
    ],
)
def test_failed_clone_is_reported_and_leaves_nothing(
    project: Project, inputs: dict[str, Any], message: str
) -> None:
    (project.folder / "full").mkdir()
    (project.folder / "full" / "file").touch()
    with pytest.raises(StepFailed, match=message):
        project.clone(**inputs)
    assert [path.name for path in project.folder.iterdir()] == ["full"]


def test_clones_into_one_folder_run_one_after_the_other(project: Project) -> None:
    name = "clone_directory_name"
    expected = [{name: "same", "include_submodules": each} for each in ("", 1, 2, 3)]
    assert project.clones(expected) == {project.folder / "same"}


def test_another_repository_in_the_folder_is_left_alone(project: Project) -> None:
    project.clone(clone_directory_name="there")
    other = project.origin.rename(project.origin.with_name("other.git"))
    with pytest.raises(StepFailed, match=r"is a clone of '.*origin\.git'"):
        project.clone(repository=other.as_uri(), clone_directory_name="there")


@pytest.mark.parametrize(
    ("repository", "credentials", "login"),
    [
        ("https://github.test/o/r", {"token": "t"}, ("t", "")),
        ("https://github.test/o/r", {"access_token": "a", "token": "t"}, ("a", "")),
        ("https://github.test/o/r", {"username": "me", "password": "p:1"}, ("me", "p:1")),
        ("https://gitlab.test/o/r", {"token": "t\n"}, ("oauth2", "t")),
        ("https://gitlab.test/o/r", {"token": "oauth2:t"}, ("oauth2", "t")),
        ("https://gitlab.test/o/r", {"token": "deploy:t"}, ("deploy", "t")),
        ("https://bitbucket.test/o/r", {"token": "t"}, ("x-token-auth", "t")),
        ("https://bitbucket.test/o/r", {"token": "x-token-auth:t"}, ("x-token-auth", "t")),
        ("https://bitbucketserver.test/o/r", {"token": "me:t"}, ("me", "t")),
        ("https://x:y@github.test/o/r", {"token": "t"}, ("t", "")),
        ("https://x:y%2Fz@github.test/o/r", {}, ("x", "y/z")),
        ("http://x:y@github.test/o/r", {}, ("x", "y")),
        ("https://me@github.test/o/r", {}, ()),
        ("http://github.test/o/r", {"token": "t"}, ()),
        ("git@github.test:o/r.git", {"token": "t"}, ()),
    ],
)
def test_credentials_are_sent_as_by_prefect(
    repository: str, credentials: Mapping[str, str], login: tuple[str, ...]
) -> None:
    url, site, given = _access(repository, credentials)
    assert given == login
    if login:
        assert (url, f"{site}/o/r") == (url, url)
        assert "@" not in url
    else:
        assert (url, site) == (repository, "")


@pytest.fixture
def server(project: Project) -> Iterator[str]:
    """Serves the repository with a password; returns the URL that has it."""
    git = ["git", "http-backend"]
    environ = {**project.environ, "GIT_PROJECT_ROOT": str(project.origin.parent)}
    expected = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != expected:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="git"')
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            about = {
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            }
            done = subprocess.run(
                git, env={**environ, **about}, input=body, check=True, capture_output=True
            )
            head, _, rest = done.stdout.partition(b"\r\n\r\n")
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n\r\n" + rest)

        do_POST = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://me:p%3Aw%2Fd%25@127.0.0.1:{running.server_port}/origin.git"
        running.shutdown()
        thread.join()


def test_password_is_in_no_argument_and_no_file(
    project: Project, server: str, tmp_path: Path
) -> None:
    """Git is a script that records its arguments and calls the real one."""
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/arguments\nexec {shutil.which("git")} "$@"\n'
    )
    program.chmod(0o755)
    project.environ["PATH"] = f"{program.parent}:{project.environ['PATH']}"
    project.git("config", "--global", "credential.helper", f"store --file={tmp_path}/kept")
    clone = project.clone(repository=server)
    assert project.git("config", "remote.origin.url", cwd=clone).startswith("http://127.0.0.1")
    project.git("config", "remote.origin.url", server.replace("p%3Aw", "0ld"), cwd=clone)
    project.commit("a.txt", "2")
    project.clone(repository=server)
    assert files(clone) == {"a.txt": "2"}
    text = (tmp_path / "arguments").read_text() + (clone / ".git" / "config").read_text()
    assert "clone" in text
    assert "p:w/d" not in text
    assert "p%3Aw" not in text
    assert not (tmp_path / "kept").exists()


def test_wrong_password_is_not_printed(project: Project, server: str) -> None:
    with pytest.raises(StepFailed, match="Authentication failed") as failed:
        project.clone(repository=server.replace("p%3Aw", "wr0ng"))
    assert "wr0ng" not in f"{failed.value.message} {failed.value.help}"
