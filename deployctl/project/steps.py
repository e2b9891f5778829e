"""Whether the outputs that a deployment's templates name can come from its steps.

Only ids are declared in the file; which outputs a step gives is known to room `steps`, and for
other people's functions to nobody. So a name that no id resembles is left to the render.
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
    """Placeholders of step ids that no step has, though one has nearly that id (DC330).

    `general` holds the file's own `build`, `push` and `pull`. Paths start at the deployment.
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
                message = f"no step has the id '{step}', which '{placeholder}' asks for"
                yield Problem(path, "DC330", message, guess)


def _ids(actions: Mapping[str, Json]) -> set[str]:
    """The ids of all steps."""
    steps = [
        step
        for action in actions.values()
        for step in (action if isinstance(action, list) else [action])
        if isinstance(step, dict)
    ]
    inputs = [given for step in steps for given in step.values() if isinstance(given, dict)]
    return {str(given["id"]) for given in inputs if given.get("id")}
