"""Steps that are not built in: functions that the project's own interpreter calls.

It has the project's packages and modules. Inputs and outputs are JSON; a block among the inputs is
passed as a mapping of its fields. What the function prints is forwarded. No bytecode is written: it
would become part of an image that is built afterwards, different each time.
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
    context: StepContext, name: str, function: str, inputs: Mapping[str, Any], requires: Json = None
) -> dict[str, Json]:
    """Calls an importable function and returns its result if that is a mapping, else nothing.

    `requires` are packages that are installed if one of them, or the function, is missing; as in
    Prefect, any version of a package will do. Unlike Prefect, nothing is installed into the
    environment that runs deployctl. Raises ProgramError with the function's error or last output.
    """
    listed = requires if isinstance(requires, list) else [requires]
    packages = [str(each) for each in listed if each]
    result = _call(context, name, function, inputs, packages)
    if "missing" in result and packages:
        installed = _install(context, name, packages)
        result = _call(context, name, function, inputs)
        if "missing" in result and installed.returncode:
            raise ProgramError(f"'requires' cannot be installed:\n{output_tail(installed)}")
    if "missing" in result:
        raise ProgramError(
            result["missing"],
            help=f"Steps run with the project's interpreter '{context.python}'. Install the "
            "package there, or add it to 'requires'.",
        )
    if "error" in result:
        raise ProgramError(f"'{function}' raised {result['error']}")
    outputs: dict[str, Json] = result.get("outputs", {})
    return outputs


def _call(
    context: StepContext,
    name: str,
    function: str,
    inputs: Mapping[str, Any],
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """The runner's result; empty if the function ended the program without an error."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "outputs.json"
        # A copy is run, because modules beside the original would shadow the project's packages.
        runner = shutil.copy(_RUNNER, folder)
        done = process.run(
            [context.python, "-uB", str(runner), function, str(answer), *packages],
            cwd=context.folder,
            env=dict(context.environ),
            timeout=None,
            on_line=lambda _, line: context.output(name, line),
            cancellation=context.cancellation,
            input=json.dumps(dict(inputs)),
        )
        if done.returncode:
            message = f"'{function}' ended with exit code {done.returncode}"
            last = output_tail(done)
            raise ProgramError(f"{message}:\n{last}" if last else message)
        return dict(json.loads(answer.read_text(encoding="utf-8"))) if answer.exists() else {}


def _install(context: StepContext, name: str, packages: Sequence[str]) -> process.CompletedProgram:
    for package in packages:
        if package.lstrip().startswith("-"):
            raise ProgramError(f"'requires' must list packages, not options: {package!r}")
    if Path(context.python).parent.resolve() == Path(sys.executable).parent.resolve():
        raise ProgramError(
            "packages of 'requires' are missing, and would be installed beside deployctl itself",
            help="Give the project a .venv of its own, or install them yourself: `"
            + shlex.join([context.python, "-m", "pip", "install", *packages])
            + "`",
        )
    return install(context, name, packages)
