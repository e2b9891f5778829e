"""The steps of a file, and which of them a deployment has."""

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
    """The path of the entry in the document."""
    requires: Json = None
    """The packages that the function needs: a name, a list of names, or None."""

    @property
    def short(self) -> str:
        """The last part of the function's name: `run_shell_script`."""
        return self.function.rpartition(".")[2]

    @property
    def name(self) -> str:
        """The name of the step in messages: its id, else its function."""
        return self.id or self.short


def parse_steps(value: Json, path: JsonPath = ()) -> tuple[list[Step], list[Problem]]:
    """The steps of a list, or of a single mapping; empty entries are skipped.

    An entry that isn't one function's name with its inputs is a problem (DC320).
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
                    "a step must be the name of one function, with its inputs below it",
                    "Indent the inputs below the function's name.",
                )
            )
    return steps, problems


def effective_steps(kind: str, entry: Mapping[str, Json], top_level: Mapping[str, Json]) -> Json:
    """The `build`, `push` or `pull` that applies to a deployment: its own, else the file's.

    `build: null` and `[]` switch the file's off, as in Prefect; of `push` and `pull` only `[]` does
    (Prefect runs the file's push steps all the same). None means that neither declares any.
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
