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
        ("echo $WHO $NOBODY", {"expand_env_vars": True}, "world $NOBODY", ""),
        ("echo $A", {"expand_env_vars": True, "env": {"A": 5}}, "5", ""),
        ("sh -c 'echo $A'", {"env": {"A": "x"}}, "x", ""),
        ("pwd", {"directory": "/"}, "/", ""),
        ("sh -c 'cd /'\nbasename sub", {}, "sub", ""),
        ("sh -c 'echo e >&2'\necho o", {}, "o", "e"),
        ("sh -c 'X=1'\nsh -c 'echo [$X]'", {}, "[]", ""),
    ],
)
def test_a_script_runs_line_by_line_as_in_prefect(
    place: StepContext, script: str, inputs: dict[str, Any], stdout: str, stderr: str
) -> None:
    outputs = run_steps({"d": [shell(script, **inputs)]}, Scope(ENVIRON), place, {})
    assert outputs["d"] == {"stdout": stdout, "stderr": stderr}


def test_a_directory_starts_from_the_folder(place: StepContext) -> None:
    (place.folder / "sub").mkdir()
    outputs = run_steps({"d": [shell("pwd", directory="sub")]}, Scope(ENVIRON), place, {})
    assert outputs["d"]["stdout"] == str((place.folder / "sub").resolve())


def test_lines_are_told_unless_the_step_is_quiet(
    place: StepContext, lines: list[tuple[str, str]]
) -> None:
    steps = [shell("echo loud", "a"), shell("echo quiet", "b", stream_output=False)]
    run_steps({"d": steps}, Scope(ENVIRON), place, {})
    assert lines == [("a", "loud")]


def test_equal_steps_run_once_and_every_deployment_gets_the_outputs(place: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'", "count")
    outputs = run_steps({"a": [step], "b": [step], "c": [step]}, Scope(ENVIRON), place, {})
    expected = {"stdout": "1", "stderr": ""}
    assert outputs == {name: {"count": expected, **expected} for name in "abc"}


def test_what_ran_before_in_the_same_command_does_not_run_again(place: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'")
    done: CompletedSteps = {}
    first = run_steps({"a": [step]}, Scope(ENVIRON), place, done)["a"]
    second = run_steps({"b": [step, step]}, Scope(ENVIRON), place, done)["b"]
    assert (first["stdout"], second["stdout"]) == ("1", "2")


def test_a_stop_ends_the_step_that_runs_and_begins_no_other(place: StepContext) -> None:
    stop = CancellationToken()
    place = replace(place, stop=stop, output=lambda *_: stop.cancel())
    steps = [shell("sh -c 'echo begun; sleep 60; touch first'"), shell("touch second")]
    with pytest.raises(Interrupted):
        run_steps({"d": steps}, Scope(ENVIRON), place, {})
    with pytest.raises(Interrupted):
        run_steps({"d": steps[1:]}, Scope(ENVIRON), place, {})
    assert list(place.folder.iterdir()) == []


def test_a_step_that_a_deployment_has_twice_runs_twice(place: StepContext) -> None:
    step = shell("sh -c 'echo x >> ran; wc -l < ran'")
    outputs = run_steps({"a": [step, step], "b": [step, step]}, Scope(ENVIRON), place, {})
    assert [own["stdout"] for own in outputs.values()] == ["2", "2"]


def test_steps_that_become_different_by_rendering_run_for_each(place: StepContext) -> None:
    wanted = {
        name: [shell(f"echo {name}", "first"), shell("echo got {{ first.stdout }}", "second")]
        for name in "ab"
    }
    outputs = run_steps(wanted, Scope(ENVIRON), place, {})
    assert [own["second"]["stdout"] for own in outputs.values()] == ["got a", "got b"]


def test_flat_outputs_are_those_of_the_last_step(place: StepContext) -> None:
    steps = [shell("echo 1", "one"), shell("echo 2", "two"), shell("echo {{ stdout }}3")]
    outputs = run_steps({"d": steps}, Scope(ENVIRON), place, {})["d"]
    assert (outputs["one"]["stdout"], outputs["two"]["stdout"]) == ("1", "2")
    assert outputs["stdout"] == "23"


def test_inputs_take_environment_and_blocks(place: StepContext) -> None:
    library = ReferenceValues({(PlaceholderKind.VARIABLE, ("v",)): {"value": 5}}, secrets=True)
    steps = [shell("echo {{ $WHO }} {{ prefect.variables.v }}")]
    outputs = run_steps({"d": steps}, Scope(ENVIRON, references=library), place, {})
    assert outputs["d"]["stdout"] == "world 5"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (shell("sh -c 'echo out; echo why >&2; exit 3'"), ["exit code 3", "why"]),
        (shell("sh -c 'echo only out; exit 1'"), ["exit code 1", "only out"]),
        (shell("no-such-program-here"), ["no-such-program-here"]),
        (shell("echo 'open"), ["cannot be taken apart"]),
        (shell("echo {{ nope }}"), ["no step gives 'nope'"]),
        (shell("ls", directory="{{ $WHO }}", env="{{ $WHO }}"), ["'env'", "must be a mapping"]),
        (Step("my.own.step", {}), ["no function 'my.own.step'"]),
        (Step("my_step", {}), ["is not the name of a function"]),
    ],
)
def test_a_failure_names_step_deployments_and_reason(
    place: StepContext, step: Step, said: list[str]
) -> None:
    after = shell("touch after")
    wanted = {name: [step, after] for name in ("f/a", "f/b", "f/c", "f/d", "f/e")}
    with pytest.raises(StepFailed) as raised:
        run_steps(wanted, Scope(ENVIRON), place, {})
    for text in [step.name, "f/a, f/b, f/c and 2 more", *said]:
        assert text in raised.value.message
    assert not (place.folder / "after").exists()


@pytest.mark.parametrize(
    ("script", "env"),
    [
        ("echo {{ $API_TOKEN }}", {}),
        ("sh -c 'echo $KEY'", {"KEY": "{{ $API_TOKEN }}"}),
        ("echo swordfish-1234", {"DB_PASSWORD": "swordfish-1234"}),
    ],
)
def test_secrets_are_masked_in_lines_and_failures(
    place: StepContext, lines: list[tuple[str, str]], script: str, env: dict[str, str]
) -> None:
    environ = {**ENVIRON, "API_TOKEN": "hunter2-the-second"}
    steps = [shell(script, "s", env=env), shell(f"{script}\nfalse", env=env)]
    with pytest.raises(StepFailed) as raised:
        run_steps({"d": steps}, Scope(environ), replace(place, environ=environ), {})
    assert lines[0] == ("s", redact.MASK)
    told = f"{raised.value.message} {lines}"
    assert "hunter2" not in told
    assert "swordfish" not in told


def test_steps_of_different_deployments_run_at_the_same_time(place: StepContext) -> None:
    """Each waits for what the other leaves behind."""
    wait = "sh -c 'touch {}; until [ -e {} ]; do sleep 0.01; done'"
    wanted = {"a": [shell(wait.format("a", "b"))], "b": [shell(wait.format("b", "a"))]}
    run_steps(wanted, Scope(ENVIRON), place, {})


def test_a_failure_is_told_while_other_steps_still_run(place: StepContext) -> None:
    """The other one ends when that was heard."""
    lines: list[tuple[str, str]] = []

    def hear(name: str, line: str) -> None:
        lines.append((name, line))
        if "waited for" in line:
            (place.folder / "heard").touch()

    until = "sh -c 'touch {}; until [ -e {} ]; do sleep 0.01; done; {}'"
    wanted = {
        "a": [shell(until.format("a", "b", "echo why >&2; exit 7"))],
        "b": [shell(until.format("b", "heard", "touch ended"))],
    }
    with pytest.raises(StepFailed, match="exit code 7"):
        run_steps(wanted, Scope(ENVIRON), replace(place, output=hear), {})
    assert (place.folder / "ended").exists()
    assert len([line for name, line in lines if name == "deployctl"]) == 1
    lines.clear()
    with pytest.raises(StepFailed):
        run_steps({"a": [shell("false")], "b": [shell("false")]}, Scope(ENVIRON), place, {})
    assert lines == []


def test_a_working_directory_is_that_of_the_steps_after_it(place: StepContext) -> None:
    (place.folder / "sub" / "below").mkdir(parents=True)
    function = "prefect.deployments.steps.set_working_directory"
    moves = [Step(function, {"directory": each}) for each in ("sub", "below")]
    wanted = {"a": [*moves, shell("pwd")], "b": [shell("pwd")]}
    outputs = run_steps(wanted, Scope(ENVIRON), place, {})
    assert Path(outputs["a"]["stdout"]) == (place.folder / "sub" / "below").resolve()
    assert Path(outputs["b"]["stdout"]) == place.folder.resolve()


def test_a_working_directory_can_be_named_by_later_steps(place: StepContext) -> None:
    (place.folder / "sub").mkdir()
    function = "prefect.deployments.steps.set_working_directory"
    steps = [Step(function, {"directory": "sub"}, "moved")]
    steps.append(shell("pwd", directory="{{ moved.directory }}"))
    outputs = run_steps({"d": steps}, Scope(ENVIRON), place, {})["d"]
    assert Path(outputs["stdout"]) == (place.folder / "sub").resolve()
    assert plan_steps({"d": steps[:1]}, Scope(ENVIRON), place)[0]["d"]["moved"] == outputs["moved"]


def test_a_plan_expects_anything_of_a_function_of_the_project() -> None:
    steps = [Step("own_steps.plain", {"a": 1}, "own"), shell("echo {{ own.sum }} {{ here }}")]
    outputs, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert problems == []
    assert lookup(outputs["d"], "own.sum.deeper") == lookup(outputs["d"], "whatever")
    assert str(lookup(outputs["d"], "whatever")) == "(known after build)"


def test_a_plan_knows_which_outputs_there_will_be_and_runs_nothing(place: StepContext) -> None:
    steps = [shell("touch ran", "tag"), shell("echo {{ tag.stdout }} {{ $WHO }} {{ WHO }}")]
    outputs, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert problems == []
    assert outputs["d"] == {
        "tag": {"stdout": Unknown("tag", "stdout"), "stderr": Unknown("tag", "stderr")},
        "stdout": Unknown("run_shell_script", "stdout"),
        "stderr": Unknown("run_shell_script", "stderr"),
    }
    assert not (place.folder / "ran").exists()


def test_a_plan_tells_what_no_step_will_give() -> None:
    steps = [shell("ls", "tag"), shell("echo {{ tag.out }} {{ $NOPE }}")]
    _, problems = plan_steps({"d": steps}, Scope(ENVIRON))
    assert [problem.code for problem in problems] == ["DC303", "DC302"]
    assert problems[0].path == ("build", 0, steps[1].function, "script")
