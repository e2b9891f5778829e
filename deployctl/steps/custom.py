"""Steps that are functions of somebody else's: run by the project's own interpreter.

There they find what the project has installed, and its own modules. Inputs and outputs are JSON; a
block among the inputs comes as what it holds, in a mapping. What the function prints is passed on.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployctl.clients import process
from deployctl.core.errors import ProgramError
from deployctl.core.values import Json
from deployctl.steps.place import Workplace

_RUNNER = Path(__file__).with_name("runner.py")
_NOT_FOUND = 3
"""The runner's exit code where there is no such function; 1 is that of a function that raises."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.\-\[\],<>=!~ ]*")


def run_function(
    place: Workplace, name: str, function: str, inputs: Mapping[str, Any], requires: Json = None
) -> dict[str, Json]:
    """Calls an importable function with the inputs and gives what it returns, if that is a mapping.

    `requires`: packages that are installed where the function cannot be imported, as Prefect does.
    Raises ProgramError with the function's last words.
    """
    done, outputs = _call(place, name, function, inputs)
    packages = [requires] if isinstance(requires, str) else list(requires or ())
    if done.returncode == _NOT_FOUND and packages:
        _install(place, name, packages)
        done, outputs = _call(place, name, function, inputs)
    if done.returncode:
        raise ProgramError(
            f"'{function}' failed:\n{_end(done)}",
            help="It is run by the project's interpreter, "
            f"'{place.python}': install there what it needs, or name it in 'requires'."
            if done.returncode == _NOT_FOUND
            else None,
        )
    return outputs


def _call(
    place: Workplace, name: str, function: str, inputs: Mapping[str, Any]
) -> tuple[process.Completed, dict[str, Json]]:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "outputs.json"
        # Not run where it is: its neighbours would shadow the project's packages.
        runner = shutil.copy(_RUNNER, folder)
        done = process.run(
            [place.python, str(runner), function, str(answer)],
            cwd=place.folder,
            env=dict(place.environ),
            timeout=None,
            on_line=lambda _, line: place.output(name, line),
            stop=place.stop,
            input=json.dumps(dict(inputs)),
        )
        outputs = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else {}
    return done, outputs if isinstance(outputs, dict) else {}


def _install(place: Workplace, name: str, packages: list[str]) -> None:
    wrong = [each for each in packages if not _REQUIREMENT.fullmatch(str(each))]
    if wrong:
        raise ProgramError(f"'requires' names no package: {wrong[0]!r}")
    done = process.run(
        [place.python, "-m", "pip", "install", *packages],
        cwd=place.folder,
        env=dict(place.environ),
        timeout=None,
        on_line=lambda _, line: place.output(name, line),
        stop=place.stop,
    )
    if done.returncode:
        raise ProgramError(f"'requires' cannot be installed:\n{_end(done)}")


def _end(done: process.Completed) -> str:
    return "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-10:])
