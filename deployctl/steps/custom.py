"""Steps that are functions of somebody else's: run by the project's own interpreter.

There they find what the project has installed, and its own modules. Inputs and outputs are JSON; a
block among the inputs comes as what it holds, in a mapping. What the function prints is passed on.
No bytecode is written: it would be part of an image that is built after that, new each time.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.values import Json
from deployctl.steps.packages import install
from deployctl.steps.place import Workplace, last_words

_RUNNER = Path(__file__).with_name("runner.py")
_NOT_FOUND = 3
"""The runner's exit code where there is no such function; 1 is that of a function that raises."""


def run_function(
    place: Workplace, name: str, function: str, inputs: Mapping[str, Any], requires: Json = None
) -> dict[str, Json]:
    """Calls an importable function with the inputs and gives what it returns, if that is a mapping.

    `requires`: packages that are installed where one of them, or the function, is not there; as in
    Prefect, any version of a package is it. Raises ProgramError with the function's last words.
    """
    listed = [requires] if isinstance(requires, str) else requires or ()
    packages = [str(each) for each in listed if each]
    done, outputs = _call(place, name, function, inputs, packages)
    if done.returncode == _NOT_FOUND and packages:
        installed = _install(place, name, packages)
        done, outputs = _call(place, name, function, inputs)
        if done.returncode == _NOT_FOUND and installed.returncode:
            raise ProgramError(f"'requires' cannot be installed:\n{last_words(installed)}")
    if done.returncode:
        raise ProgramError(
            f"'{function}' failed:\n{last_words(done)}",
            help="It is run by the project's interpreter, "
            f"'{place.python}': install there what it needs, or name it in 'requires'."
            if done.returncode == _NOT_FOUND
            else None,
        )
    return outputs


def _call(
    place: Workplace,
    name: str,
    function: str,
    inputs: Mapping[str, Any],
    packages: Sequence[str] = (),
) -> tuple[process.Completed, dict[str, Json]]:
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
            stop=place.stop,
            input=json.dumps(dict(inputs)),
        )
        outputs = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    return done, outputs if isinstance(outputs, dict) else {}


def _install(place: Workplace, name: str, packages: Sequence[str]) -> process.Completed:
    for package in packages:
        if package.lstrip().startswith("-"):
            raise ProgramError(f"'requires' names no package: {package!r}")
    return install(place, name, packages)
