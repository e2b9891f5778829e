"""Shell steps that only read git run in a plan; others run there only on request."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from deployctl.steps.context import StepContext
from deployctl.steps.engine import plan_steps
from deployctl.steps.model import Step
from deployctl.steps.read_only import only_reads_git
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope
from deployctl.templating.values import Unknown
from tests.unit.steps.conftest import ENVIRON


@pytest.mark.parametrize(
    "line",
    [
        "git rev-parse --short HEAD",
        "git -C .. rev-parse HEAD",
        "git --no-pager log -1 --oneline --format=%h",
        "git describe --tags --always --dirty",
        "git symbolic-ref --short HEAD",
        "git branch --show-current",
        "git tag --points-at HEAD",
        "git config --get user.name",
        "git remote get-url origin",
        "git status --porcelain",
    ],
)
def test_reading_commands(line: str) -> None:
    assert only_reads_git(shlex.split(line))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "git",
        "make version",
        "gitk --all",
        "git fetch",
        "git checkout main",
        "git -c core.pager=sh log",
        "git --exec-path=/tmp log",
        "git log --output=file",
        "git log --outp=file",
        "git diff --ext-diff",
        "git cat-file --textconv HEAD:a",
        "git cat-file --filters HEAD:a",
        "git symbolic-ref HEAD refs/heads/x",
        "git symbolic-ref -d HEAD",
        "git branch new",
        "git branch -D old",
        "git tag v1",
        "git config user.name x",
        "git remote add o url",
        "git describe-alias",
    ],
)
def test_commands_that_may_write(line: str) -> None:
    assert not only_reads_git(shlex.split(line))


def shell(script: str, id: str = "s", **inputs: Any) -> Step:  # noqa: A002
    function = "prefect.deployments.steps.run_shell_script"
    return Step(function, {"script": script, **inputs}, id, ("build", 0))


@pytest.fixture
def repository(context: StepContext) -> StepContext:
    """A context in a repository with one commit."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run([*git, *command], cwd=context.folder, check=True)
    return context


def planned(context: StepContext, *steps: Step, scope: Scope = Scope(ENVIRON)) -> dict[str, Any]:  # noqa: B008
    outputs, problems = plan_steps({"d": steps}, scope, context)
    assert problems == []
    return {step.id: outputs["d"][step.id]["stdout"] for step in steps}


def head(context: StepContext) -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.check_output(command, cwd=context.folder, text=True).strip()


def test_plan_knows_what_git_prints(repository: StepContext) -> None:
    steps = shell("git rev-parse HEAD", "a"), shell("git rev-parse {{ a.stdout }}^{tree}", "b")
    found = planned(repository, *steps)
    assert found["a"] == head(repository)
    assert len(found["b"]) == 40


def test_plan_prints_nothing_of_the_steps(
    repository: StepContext, lines: list[tuple[str, str]]
) -> None:
    planned(repository, shell("git rev-parse HEAD"))
    assert lines == []


@pytest.mark.parametrize(
    "step",
    [
        shell("git rev-parse HEAD\ntouch ran"),
        shell("git rev-parse HEAD; touch ran", shell=True),
        shell("git log", env={"GIT_EXTERNAL_DIFF": "touch ran"}),
        shell("$GIT fetch", expand_env_vars=True),
    ],
)
def test_plan_runs_no_other_scripts(repository: StepContext, step: Step) -> None:
    assert planned(repository, step) == {"s": Unknown("s", "stdout")}
    assert not (repository.folder / "ran").exists()


def test_nothing_is_known_after_a_step_that_may_write(repository: StepContext) -> None:
    found = planned(repository, shell("touch ran", "a"), shell("git rev-parse HEAD", "b"))
    assert found["b"] == Unknown("b", "stdout")


def test_a_failure_of_git_is_a_problem_at_the_step(context: StepContext) -> None:
    step = shell("git rev-parse HEAD")
    _, (problem,) = plan_steps({"d": [step]}, Scope(ENVIRON), context)
    assert (problem.code, problem.path) == ("DC004", ("build", 0))
    assert "not a git repository" in problem.message


def test_shell_steps_run_on_request_with_their_references(context: StepContext) -> None:
    values = ReferenceValues({(PlaceholderKind.VARIABLE, ("who",)): {"value": "you"}})
    steps = shell("echo {{ prefect.variables.who }}", "a"), shell("echo {{ a.stdout }}!", "b")
    allowed = replace(context, runs_shell_steps=True)
    found = planned(allowed, *steps, scope=Scope(ENVIRON, references=values))
    assert found == {"a": "you", "b": "you!"}
    unknown = planned(context, *steps, scope=Scope(ENVIRON, references=values))
    assert isinstance(unknown["a"], Unknown)
