"""Steps that are functions of somebody else's: run by the project's own interpreter.

There they find what the project has installed, and its own modules. Inputs and outputs are JSON; a
block among the inputs comes as what it holds, in a mapping. What the function prints is passed on.
No bytecode is written: it would be part of an image that is built after that, new each time.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.json_values import Json
from deployctl.steps.context import StepContext, output_tail
from deployctl.steps.packages import install

_RUNNER = Path(__file__).with_name("runner.py")


def run_function(
    place: StepContext, name: str, function: str, inputs: Mapping[str, Any], requires: Json = None
) -> dict[str, Json]:
    """Calls an importable function with the inputs and gives what it returns, if that is a mapping.

    `requires`: packages that are installed where one of them, or the function, is not there; as in
    Prefect, any version of a package is it. Unlike there, nothing is installed into the environment
    that runs deployctl. Raises ProgramError with what the function raised or its last words.
    """
    listed = requires if isinstance(requires, list) else [requires]
    packages = [str(each) for each in listed if each]
    told = _call(place, name, function, inputs, packages)
    if "missing" in told and packages:
        installed = _install(place, name, packages)
        told = _call(place, name, function, inputs)
        if "missing" in told and installed.returncode:
            raise ProgramError(f"'requires' cannot be installed:\n{output_tail(installed)}")
    if "missing" in told:
        raise ProgramError(
            told["missing"],
            help="It is run by the project's interpreter, "
            f"'{place.python}': install there what it needs, or name it in 'requires'.",
        )
    if "error" in told:
        raise ProgramError(f"'{function}' raised {told['error']}")
    outputs: dict[str, Json] = told.get("outputs", {})
    return outputs


def _call(
    place: StepContext,
    name: str,
    function: str,
    inputs: Mapping[str, Any],
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """The runner's answer; empty where the function ended the program without an error."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "outputs.json"
        # Not run where it is: its neighbours would shadow the project's packages.
        runner = shutil.copy(_RUNNER, folder)
        done = process.run(
            [place.python, "-uB", str(runner), function, str(answer), *packages],
            cwd=place.folder,
            env=dict(place.environ),
            timeout=None,
            on_line=lambda _, line: place.output(name, line),
            cancellation=place.stop,
            input=json.dumps(dict(inputs)),
        )
        if done.returncode:
            message = f"'{function}' ended with exit code {done.returncode}"
            last = output_tail(done)
            raise ProgramError(f"{message}:\n{last}" if last else message)
        return dict(json.loads(answer.read_text(encoding="utf-8"))) if answer.exists() else {}


def _install(place: StepContext, name: str, packages: Sequence[str]) -> process.CompletedProgram:
    for package in packages:
        if package.lstrip().startswith("-"):
            raise ProgramError(f"'requires' names no package: {package!r}")
    if Path(place.python).parent.resolve() == Path(sys.executable).parent.resolve():
        raise ProgramError(
            "what 'requires' names is missing, and would be installed where deployctl itself is",
            help="give the project a .venv of its own, or install it yourself: "
            + shlex.join([place.python, "-m", "pip", "install", *packages]),
        )
    return install(place, name, packages)
