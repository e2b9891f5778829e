"""Checks that placeholders of step outputs name the id of a step.

The file declares only the ids of steps. The outputs of the built-in steps are known to the package
`steps`, those of other functions only when they run. A name that resembles no id is therefore left
to the rendering, which knows all outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deployctl.core.json_values import Json, leaves
from deployctl.core.suggest import did_you_mean
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem

_KINDS = ("build", "push", "pull")


def check_outputs(
    raw: Mapping[str, Json], general: Mapping[str, Json], environ: Mapping[str, str]
) -> Iterator[Problem]:
    """Placeholders with a step id that no step has but one nearly has (DC330).

    `general` holds the file's own `build`, `push` and `pull`. Paths are in the deployment.
    """
    ids = _ids({**general, **{kind: raw[kind] for kind in _KINDS if raw.get(kind)}})
    for path, value in leaves(raw):
        if not isinstance(value, str) or (path[0] == "triggers" and "parameters" in path):
            continue
        for placeholder in placeholders(value):
            step, dot, _ = placeholder.name.partition(".")
            if (
                placeholder.kind is not PlaceholderKind.STEP
                or not dot
                or step in ids
                or step in environ
            ):
                continue
            if (guess := did_you_mean(step, ids)) is not None:
                message = f"no step has the id '{step}' of '{placeholder}'"
                yield Problem(path, "DC330", message, guess)


def _ids(actions: Mapping[str, Json]) -> set[str]:
    """The ids of all steps."""
    steps = [
        step
        for action in actions.values()
        for step in (action if isinstance(action, list) else [action])
        if isinstance(step, dict)
    ]
    inputs = [each for step in steps for each in step.values() if isinstance(each, dict)]
    return {str(each["id"]) for each in inputs if each.get("id")}
