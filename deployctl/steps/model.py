"""Steps as the file has them, and which steps a deployment has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployctl.core.json_values import Json, JsonPath
from deployctl.templating.problems import Problem


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of `build:`, `push:` or `pull:`."""

    function: str
    inputs: Mapping[str, Json]
    """As written, without `id` and `requires`."""
    id: str = ""
    path: JsonPath = ()
    """Where the entry stands, in the value that its caller looks at."""
    requires: Json = None
    """The packages that the function needs: one or a list of names, or nothing."""

    @property
    def short(self) -> str:
        """The last part of the function's name: `run_shell_script`."""
        return self.function.rpartition(".")[2]

    @property
    def name(self) -> str:
        """What to call the step: its id, else its function."""
        return self.id or self.short


def parse_steps(value: Json, path: JsonPath = ()) -> tuple[list[Step], list[Problem]]:
    """The steps of a list, or of the single mapping that stands for one; empty entries are none.

    An entry that is not one function's name with its inputs is a problem (DC320).
    """
    if isinstance(value, list):
        entries = [((*path, index), entry) for index, entry in enumerate(value)]
    else:
        entries = [(path, value)]
    steps, problems = [], []
    for here, entry in entries:
        if not entry:
            continue
        if _is_step(entry):
            steps.append(_step(entry, here))
        else:
            problems.append(
                Problem(
                    here,
                    "DC320",
                    "a step is the name of one function, with its inputs below it",
                    "indent the inputs below the function's name",
                )
            )
    return steps, problems


def effective_steps(kind: str, entry: Mapping[str, Json], top_level: Mapping[str, Json]) -> Json:
    """The `build`, `push` or `pull` that holds for a deployment: its own or the file's.

    `build: null` and `[]` switch the file's off, as in Prefect; of the others only `[]` does, where
    Prefect runs the file's push steps nonetheless. None means that nobody said anything.
    """
    own, general = entry.get(kind), top_level.get(kind)
    if kind == "build":
        return own if kind in entry else general
    return own if own is not None else general


def _is_step(entry: Json) -> bool:
    if not isinstance(entry, dict) or len(entry) != 1:
        return False
    ((function, inputs),) = entry.items()
    return isinstance(function, str) and (inputs is None or isinstance(inputs, dict))


def _step(entry: Mapping[str, Json], path: JsonPath) -> Step:
    ((function, given),) = entry.items()
    inputs = dict(given or {})
    id_, requires = str(inputs.pop("id", None) or ""), inputs.pop("requires", None)
    return Step(function, inputs, id_, path, requires)
