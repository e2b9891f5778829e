from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.core import redact
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted, StepFailed
from deployctl.steps.context import StepContext
from deployctl.steps.engine import CompletedSteps, plan_steps, run_steps
from deployctl.steps.model import Step
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope
from deployctl.templating.values import Unknown, lookup
from tests.unit.steps.conftest import ENVIRON


def shell(script: str, id: str = "", **inputs: Any) -> Step:  # noqa: A002
    function = "prefect.deployments.steps.run_shell_script"
    return Step(function, {"script": script, **inputs}, id, ("build", 0))


@pytest.mark.parametrize(
    ("script", "inputs", "stdout", "stderr"),
    [
        ("echo a", {}, "a", ""),
        ("echo '  a  '\n\necho b\n", {}, "a  \nb", ""),
        ("echo a | cat", {}, "a | cat", ""),
        ("echo a | tr a b", {"shell": True}, "b", ""),
        ("  \n echo a\n", {"shell": True}, "a", ""),
        ("echo $WHO", {}, "$WHO", ""),
        ("echo $WHO $UNSET", {"expand_env_vars": True}, "world $UNSET", ""),
        ("echo $A", {"expand_env_vars": True, "env": {"A": 5}}, "5", ""),
        ("sh -c 'echo $A'", {"env": {"A": "x"}}, "x", ""),
        ("pwd", {"directory": "/"}, "/", ""),
        ("sh -c 'cd /'\nbasename sub", {}, "sub", ""),
        ("sh -c 'echo e >&2'\necho o", {}, "o", "e"),
        ("sh -c 'X=1'\nsh -c 'echo [$X]'", {}, "[]", ""),
    ],
)
def test_script_runs_line_by_line_as_in_prefect(
    context: StepContext, script: str, inputs: dict[str, Any], stdout: str, stderr: str
) -> None:
    outputs = run_steps({"d": [shell(script, **inputs)]}, Scope(ENVIRON), context, {})
    assert outputs["d"] == {"stdout": stdout, "stderr": stderr}


def test_directory_is_relative_to_the_folder(context: StepContext) -> None:
    (context.folder / "sub").mkdir()
    outputs = run_steps({"d": [shell("pwd", directory="sub")]}, Scope(ENVIRON), context, {})
    assert outputs["d"]["stdout"] == str((context.folder / "sub").resolve())


def test_output_is_forwarded_unless_the_step_is_quiet(
    context: StepContext, lines: list[tuple[str, str]]
) -> None:
    steps = [shell("echo loud", "a"), shell("echo quiet", "b", stream_output=False)]
    run_steps({"d": steps}, Scope(ENVIRON), context, {})
    assert lines == [("a", "loud")]


def test_equal_steps_run_once_for_all_deployments(context: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'", "count")
    outputs = run_steps({"a": [step], "b": [step], "c": [step]}, Scope(ENVIRON), context, {})
    expected = {"stdout": "1", "stderr": ""}
    assert outputs == {name: {"count": expected, **expected} for name in "abc"}


def test_completed_step_of_the_command_does_not_run_again(context: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'")
    done: CompletedSteps = {}
    first = run_steps({"a": [step]}, Scope(ENVIRON), context, done)["a"]
    second = run_steps({"b": [step, step]}, Scope(ENVIRON), context, done)["b"]
    assert (first["stdout"], second["stdout"]) == ("1", "2")


def test_stop_ends_running_step_and_starts_no_other(context: StepContext) -> None:
    stop = CancellationToken()
    context = replace(context, cancellation=stop, output=lambda *_: stop.cancel())
    steps = [shell("sh -c 'echo begun; sleep 60; touch first'"), shell("touch second")]
    with pytest.raises(Interrupted):
        run_steps({"d": steps}, Scope(ENVIRON), context, {})
    with pytest.raises(Interrupted):
        run_steps({"d": steps[1:]}, Scope(ENVIRON), context, {})
    assert list(context.folder.iterdir()) == []


def test_step_that_a_deployment_has_twice_runs_twice(context: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'")
    outputs = run_steps({"a": [step, step], "b": [step, step]}, Scope(ENVIRON), context, {})
    assert [own["stdout"] for own in outputs.values()] == ["2", "2"]


def test_steps_that_render_differently_run_separately(context: StepContext) -> None:
    steps_by_deployment = {
        name: [shell(f"echo {name}", "first"), shell("echo got {{ first.stdout }}", "second")]
        for name in "ab"
    }
    outputs = run_steps(steps_by_deployment, Scope(ENVIRON), context, {})
    assert [own["second"]["stdout"] for own in outputs.values()] == ["got a", "got b"]


def test_flat_outputs_are_those_of_the_last_step(context: StepContext) -> None:
    steps = [shell("echo 1", "one"), shell("echo 2", "two"), shell("echo {{ stdout }}3")]
    outputs = run_steps({"d": steps}, Scope(ENVIRON), context, {})["d"]
    assert (outputs["one"]["stdout"], outputs["two"]["stdout"]) == ("1", "2")
    assert outputs["stdout"] == "23"


def test_inputs_use_environment_and_blocks(context: StepContext) -> None:
    library = ReferenceValues({(PlaceholderKind.VARIABLE, ("v",)): {"value": 5}}, secrets=True)
    steps = [shell("echo {{ $WHO }} {{ prefect.variables.v }}")]
    outputs = run_steps({"d": steps}, Scope(ENVIRON, references=library), context, {})
    assert outputs["d"]["stdout"] == "world 5"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (shell("sh -c 'echo out; echo why >&2; exit 3'"), ["exit code 3", "why"]),
        (shell("sh -c 'echo only out; exit 1'"), ["exit code 1", "only out"]),
        (shell("no-such-program-here"), ["no-such-program-here"]),
        (shell("echo 'open"), ["cannot be split into words"]),
        (shell("echo {{ nope }}"), ["no step has the output 'nope'"]),
        (shell("ls", directory="{{ $WHO }}", env="{{ $WHO }}"), ["'env'", "must be a mapping"]),
        (Step("my.own.step", {}), ["the function 'my.own.step' cannot be imported"]),
        (Step("my_step", {}), ["is not the full name of a function"]),
    ],
)
def test_failure_names_step_deployments_and_reason(
    context: StepContext, step: Step, message: list[str]
) -> None:
    after = shell("touch after")
    steps_by_deployment = {name: [step, after] for name in ("f/a", "f/b", "f/c", "f/d", "f/e")}
    with pytest.raises(StepFailed) as raised:
        run_steps(steps_by_deployment, Scope(ENVIRON), context, {})
    for text in [step.name, "f/a, f/b, f/c and 2 more", *message]:
        assert text in raised.value.message
    assert not (context.folder / "after").exists()


@pytest.mark.parametrize(
    ("script", "env"),
    [
        ("echo {{ $API_TOKEN }}", {}),
        ("sh -c 'echo $KEY'", {"KEY": "{{ $API_TOKEN }}"}),
        ("echo swordfish-1234", {"DB_PASSWORD": "swordfish-1234"}),
    ],
)
def test_secrets_are_masked_in_lines_and_failures(
    context: StepContext, lines: list[tuple[str, str]], script: str, env: dict[str, str]
) -> None:
    environ = {**ENVIRON, "API_TOKEN": "hunter2-the-second"}
    steps = [shell(script, "s", env=env), shell(f"{script}\nfalse", env=env)]
    with pytest.raises(StepFailed) as raised:
        run_steps({"d": steps}, Scope(environ), replace(context, environ=environ), {})
    assert lines[0] == ("s", redact.MASK)
    text = f"{raised.value.message} {lines}"
    assert "hunter2" not in text
    assert "swordfish" not in text


@pytest.mark.parametrize("token", ['hun"ter-22', "hun'ter-22", "hun\\ter-22", 'h"u"n ter-22'])
@pytest.mark.parametrize("script", ["sh -c 'exit 1' {}", "sh -c 'echo $0; exit 1' {}", "false '{}"])
@pytest.mark.parametrize("as_shell", [True, False])
def test_secret_with_quotation_marks_is_masked_in_failures(
    context: StepContext,
    lines: list[tuple[str, str]],
    token: str,
    script: str,
    as_shell: bool,
) -> None:
    step = shell(script.format("{{ $API_TOKEN }}"), shell=as_shell)
    environ = {**ENVIRON, "API_TOKEN": token}
    with pytest.raises(StepFailed) as raised:
        run_steps({"d": [step]}, Scope(environ), replace(context, environ=environ), {})
    assert "ter-22" not in f"{raised.value.message} {lines}"


def test_steps_of_different_deployments_run_in_parallel(context: StepContext) -> None:
    """Each waits for a file of the other."""
    wait = "sh -c 'touch {}; until [ -e {} ]; do sleep 0.01; done'"
    steps_by_deployment = {"a": [shell(wait.format("a", "b"))], "b": [shell(wait.format("b", "a"))]}
    run_steps(steps_by_deployment, Scope(ENVIRON), context, {})


def test_failure_is_reported_while_other_steps_run(context: StepContext) -> None:
    """The other step ends when the failure was reported."""
    lines: list[tuple[str, str]] = []

    def receive(name: str, line: str) -> None:
        lines.append((name, line))
        if "waiting for running steps" in line:
            (context.folder / "reported").touch()

    until = "sh -c 'touch {}; until [ -e {} ]; do sleep 0.01; done; {}'"
    steps_by_deployment = {
        "a": [shell(until.format("a", "b", "echo why >&2; exit 7"))],
        "b": [shell(until.format("b", "reported", "touch ended"))],
    }
    with pytest.raises(StepFailed, match="exit code 7"):
        run_steps(steps_by_deployment, Scope(ENVIRON), replace(context, output=receive), {})
    assert (context.folder / "ended").exists()
    assert len([line for name, line in lines if name == "deployctl"]) == 1
    lines.clear()
    with pytest.raises(StepFailed):
        run_steps({"a": [shell("false")], "b": [shell("false")]}, Scope(ENVIRON), context, {})
    assert lines == []


def test_working_directory_applies_to_later_steps(context: StepContext) -> None:
    (context.folder / "sub" / "below").mkdir(parents=True)
    function = "prefect.deployments.steps.set_working_directory"
    moves = [Step(function, {"directory": each}) for each in ("sub", "below")]
    steps_by_deployment = {"a": [*moves, shell("pwd")], "b": [shell("pwd")]}
    outputs = run_steps(steps_by_deployment, Scope(ENVIRON), context, {})
    assert Path(outputs["a"]["stdout"]) == (context.folder / "sub" / "below").resolve()
    assert Path(outputs["b"]["stdout"]) == context.folder.resolve()


def test_working_directory_is_an_output_for_later_steps(context: StepContext) -> None:
    (context.folder / "sub").mkdir()
    function = "prefect.deployments.steps.set_working_directory"
    steps = [Step(function, {"directory": "sub"}, "moved")]
    steps.append(shell("pwd", directory="{{ moved.directory }}"))
    outputs = run_steps({"d": steps}, Scope(ENVIRON), context, {})["d"]
    assert Path(outputs["stdout"]) == (context.folder / "sub").resolve()
    assert (
        plan_steps({"d": steps[:1]}, Scope(ENVIRON), context)[0]["d"]["moved"] == outputs["moved"]
    )


def test_plan_allows_any_output_of_a_custom_function() -> None:
    steps = [Step("own_steps.plain", {"a": 1}, "own"), shell("echo {{ own.sum }} {{ here }}")]
    outputs, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert problems == []
    assert lookup(outputs["d"], "own.sum.deeper") == lookup(outputs["d"], "whatever")
    assert str(lookup(outputs["d"], "whatever")) == "(known after build)"


def test_plan_knows_names_of_outputs_and_runs_nothing(context: StepContext) -> None:
    steps = [shell("touch ran", "tag"), shell("echo {{ tag.stdout }} {{ $WHO }} {{ WHO }}")]
    outputs, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert problems == []
    assert outputs["d"] == {
        "tag": {"stdout": Unknown("tag", "stdout"), "stderr": Unknown("tag", "stderr")},
        "stdout": Unknown("run_shell_script", "stdout"),
        "stderr": Unknown("run_shell_script", "stderr"),
    }
    assert not (context.folder / "ran").exists()


def test_plan_reports_outputs_that_no_step_has() -> None:
    steps = [shell("ls", "tag"), shell("echo {{ tag.out }} {{ $NOPE }}")]
    _, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert [problem.code for problem in problems] == ["DC303", "DC302"]
    assert problems[0].path == ("build", 0, steps[1].function, "script")


def test_failures_end_only_the_steps_of_their_deployments(context: StepContext) -> None:
    failures: dict[str, StepFailed] = {}
    steps = {
        "a": [shell("false"), shell("touch a")],
        "b": [shell("touch b")],
        "c": [shell("false")],
    }
    outputs = run_steps(steps, Scope(ENVIRON), context, {}, failures)
    assert list(outputs) == ["b"]
    assert sorted(failures) == ["a", "c"]
    assert (context.folder / "b").exists()
    assert not (context.folder / "a").exists()
