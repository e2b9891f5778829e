from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.core.errors import StepFailed
from deployctl.steps.context import StepContext
from deployctl.steps.engine import CompletedSteps, run_steps
from deployctl.steps.model import Step
from deployctl.templating.render import Scope
from tests.unit.steps.conftest import ENVIRON

OWN = """
import os
import pathlib
import time

def plain(a, b=2):
    print("printed")
    return {"sum": a + b, "here": os.getcwd()}

async def waits(a):
    return {"sum": a}

def fails():
    raise ValueError("the reason")

async def fails_later():
    fails()

def nothing():
    return None

def exits(with_):
    print("bye")
    raise SystemExit(with_)

def number():
    return 5

def odd():
    return {"path": pathlib.Path("a"), "at": {"odd": object()}}

def prints_and_waits():
    print("begun")
    while not os.path.exists("received"):
        time.sleep(0.01)

def needs():
    import wanted
    return {"found": wanted.HERE}

def which():
    return {"python": os.environ["CALLED"]}

def imports():
    import docker
    return {"is_ours": "deployctl" in docker.__file__.split(os.sep)[-4:]}
"""


def own(name: str, **inputs: Any) -> Step:
    return Step(f"own_steps.{name}", inputs, "own")


@pytest.mark.parametrize(
    ("step", "given"),
    [
        (own("plain", a=1), {"sum": 3, "here": "."}),
        (own("waits", a=[1]), {"sum": [1]}),
        (own("nothing"), {}),
        (own("exits", with_=0), {}),
        (own("imports"), {"is_ours": False}),
    ],
)
def test_runs_function_with_project_interpreter_and_folder(
    context: StepContext, lines: list[tuple[str, str]], step: Step, given: dict[str, Any]
) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    given = {key: str(context.folder) if key == "here" else value for key, value in given.items()}
    outputs = run_steps({"d": [step]}, Scope(ENVIRON), context, {})["d"]
    assert outputs == {"own": given, **given}
    assert [path.name for path in context.folder.iterdir()] == ["own_steps.py"]
    printed = {"plain": [("own", "printed")], "exits": [("own", "bye")]}
    assert lines == printed.get(step.short, [])


@pytest.mark.parametrize(
    ("step", "given", "message"),
    [
        (own("number"), {}, "no outputs: it returned int, not dict"),
        (
            own("odd"),
            {"path": "a"},
            "the output 'at' is left out: object cannot be written as JSON",
        ),
    ],
)
def test_results_that_are_not_json_are_dropped_and_logged(
    context: StepContext,
    lines: list[tuple[str, str]],
    step: Step,
    given: dict[str, Any],
    message: str,
) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    outputs = run_steps({"d": [step]}, Scope(ENVIRON), context, {})["d"]
    assert outputs == {"own": given, **given}
    assert lines == [("own", message)]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (own("fails"), "ValueError: the reason"),
        (own("plain", c=1), "unexpected keyword argument 'c'"),
        (own("missing"), "the function 'own_steps.missing' cannot be imported"),
        (own("exits", with_=3), "'own_steps.exits' ended with exit code 3:\nbye"),
        (own("exits", with_="why"), "'own_steps.exits' ended with exit code 1:\nwhy"),
    ],
)
def test_error_of_function_is_reported(context: StepContext, step: Step, message: str) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    with pytest.raises(StepFailed, match="step 'own' of d") as raised:
        run_steps({"d": [step]}, Scope(ENVIRON), context, {})
    assert message in raised.value.message
    assert bool(raised.value.help) == (step.short == "missing")


@pytest.mark.parametrize("name", ["fails", "fails_later"])
def test_traceback_of_function_is_printed_once_without_the_runner(
    context: StepContext, lines: list[tuple[str, str]], name: str
) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    with pytest.raises(StepFailed) as raised:
        run_steps({"d": [own(name)]}, Scope(ENVIRON), context, {})
    assert raised.value.message == (
        f"step 'own' of d: 'own_steps.{name}' raised ValueError: the reason"
    )
    files = [line.split('"')[1] for _, line in lines if line.startswith("  File")]
    assert {Path(file).name for file in files} == {"own_steps.py"}
    assert lines[-1] == ("own", "ValueError: the reason")


def fake_python(context: StepContext, name: str, on_pip: str) -> str:
    """An interpreter in the project's folder that runs `pip` instead of pip."""
    python = context.folder / name
    site = context.folder / f"site-of-{name}"
    site.mkdir()
    python.write_text(
        "#!/bin/sh\n"
        f'if [ "$1 $2" = "-m pip" ]; then shift 2; echo "$@" >>pip; {on_pip}; exit; fi\n'
        f'CALLED={name} PYTHONPATH={site} exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return str(python)


@pytest.mark.parametrize(
    ("function", "requires", "asked"),
    [
        ("own_steps.needs", "wanted>=1", ["install wanted>=1"]),
        ("own_steps.needs", ["wanted[more]", "pytest"], ["install wanted[more] pytest"]),
        ("own_steps.needs", "wanted @ git+https://host/wanted", None),
        ("wanted.given", "git+https://host/wanted", None),
        ("own_steps.needs", 5, ["install 5"]),
        ("own_steps.nothing", "pytest>=1000", []),
        ("own_steps.nothing", ["Hypothesis[cli]", "yaml"], []),
    ],
)
def test_missing_requirements_are_installed(
    context: StepContext, function: str, requires: Any, asked: list[str] | None
) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    (context.folder / "source").write_text("HERE = 1\ndef given():\n    return {'found': 1}\n")
    python = fake_python(context, "python", "cp source site-of-python/wanted.py")
    step = Step(function, {}, "own", requires=requires)
    outputs = run_steps({"d": [step]}, Scope(ENVIRON), replace(context, python=python), {})["d"]
    assert outputs.get("found") == (1 if asked != [] else None)
    pip = context.folder / "pip"
    calls = pip.read_text().splitlines() if pip.exists() else []
    assert calls == ([f"install {requires}"] if asked is None else asked)


def test_failed_install_is_an_error_only_if_function_is_missing(
    context: StepContext,
) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    context = replace(
        context, python=fake_python(context, "python", "echo no such thing >&2; false")
    )
    there = Step("own_steps.nothing", {}, requires="not-there")
    assert run_steps({"d": [there]}, Scope(ENVIRON), context, {})["d"] == {}
    missing = Step("not_there.at_all", {}, requires="not-there")
    with pytest.raises(StepFailed, match="cannot be installed:\nno such thing"):
        run_steps({"d": [missing]}, Scope(ENVIRON), context, {})
    option = Step("not_there.at_all", {}, requires=["--index-url=x"])
    with pytest.raises(StepFailed, match="must list packages, not options"):
        run_steps({"d": [option]}, Scope(ENVIRON), context, {})


def test_nothing_is_installed_beside_deployctl(context: StepContext) -> None:
    step = Step("not_there.at_all", {}, requires=["not there", "nor-this"])
    with pytest.raises(StepFailed, match="beside deployctl itself") as raised:
        run_steps({"d": [step]}, Scope(ENVIRON), context, {})
    assert f"{sys.executable} -m pip install 'not there' nor-this" in str(raised.value.help)


def test_uv_installs_for_interpreter_without_pip(context: StepContext) -> None:
    python = fake_python(context, "python", "echo No module named pip >&2; false")
    uv = context.folder / "uv"
    uv.write_text('#!/bin/sh\necho "$@"\n')
    uv.chmod(0o755)
    environ = {"PATH": f"{context.folder}:/usr/bin:/bin"}
    context = replace(context, python=python, environ=environ)
    step = Step("prefect.deployments.steps.pip_install_requirements", {})
    outputs = run_steps({"d": [step]}, Scope(environ), context, {})["d"]
    assert outputs["stdout"] == f"pip install --python {python} -r requirements.txt"


@pytest.mark.parametrize(
    "step",
    [
        Step("own_steps.which", {}),
        Step("prefect.deployments.steps.pip_install_requirements", {}),
    ],
)
def test_step_with_another_interpreter_is_another_step(context: StepContext, step: Step) -> None:
    (context.folder / "own_steps.py").write_text(OWN)
    done: CompletedSteps = {}
    for name in ("one", "two"):
        python = fake_python(context, name, f"echo {name}")
        here = replace(context, python=python)
        outputs = run_steps({name: [step]}, Scope(ENVIRON), here, done)[name]
        assert name in outputs.values()


def test_output_of_function_is_forwarded_while_it_runs(context: StepContext) -> None:
    """The function ends when its output was received."""
    (context.folder / "own_steps.py").write_text(OWN)
    context = replace(context, output=lambda *_: (context.folder / "received").touch())
    run_steps({"d": [own("prints_and_waits")]}, Scope(ENVIRON), context, {})


def test_requirements_file_is_installed_by_project_interpreter(context: StepContext) -> None:
    python = context.folder / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    step = Step("prefect.deployments.steps.pip_install_requirements", {"requirements_file": None})
    outputs = run_steps({"d": [step]}, Scope(ENVIRON), replace(context, python=str(python)), {})[
        "d"
    ]
    assert outputs["stdout"] == "-m pip install -r requirements.txt"
