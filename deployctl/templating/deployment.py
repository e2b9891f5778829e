"""The rule that says which placeholders of a deployment are resolved, and which the worker gets.

- `pull` steps run on the worker: only outputs of build and push steps are filled in, and those
  environment variables that are set. Prefect does the same, so that `{{ $GITHUB_SHA }}` pins a run
  to the commit that was deployed.
- `build` and `push` steps are rendered as they run, one after the other (`steps.engine`); only the
  environment is known before that.
- A trigger's `parameters` are Jinja templates that the server renders for each event.
- `job_variables` keep references to blocks and variables wherever the pool's schema allows a
  string: the worker resolves them, so that no secret is stored and a changed variable needs no new
  deploy. Prefect 3 stores the values; this difference is intended.
- All other fields are stored with their values.

There are two passes with this rule. The first needs no server: `Scope(environ)`. The second starts
from the result of the first, and has the outputs of the steps, expected or real, and the values of
the references as well: `Scope(environ, outputs, references)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from deployctl.core.json_values import Json, JsonPath, format_path, leaves
from deployctl.templating.grammar import PlaceholderKind, malformed_placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.render import Rule, Treatment

AllowsString: TypeAlias = Callable[[JsonPath], bool]
"""Whether the schema of a work pool accepts any text at a path below `job_variables`."""

_OFFERED = frozenset({PlaceholderKind.STEP, PlaceholderKind.ENV})
_REFERENCES = frozenset({PlaceholderKind.BLOCK, PlaceholderKind.VARIABLE})


def deployment_rule(allows_string: AllowsString | None = None) -> Rule:
    """The rule for one entry of `deployments:`, with paths in the entry.

    Without `allows_string`, while the pool is not known, job variables keep all their references.
    """

    def rule(path: JsonPath, kind: PlaceholderKind) -> Treatment:
        """The treatment at a path in the entry."""
        match path:
            case ("pull", *_):
                return Treatment.OFFER if kind in _OFFERED else Treatment.KEEP
            case ("build" | "push", *_):
                return Treatment.RESOLVE if kind is PlaceholderKind.ENV else Treatment.KEEP
            case ("triggers", int(), "parameters", *_) if kind is PlaceholderKind.STEP:
                return Treatment.KEEP
            case ("work_pool", "job_variables", *below) | (
                "triggers",
                int(),
                "job_variables",
                *below,
            ):
                return _in_job_variables(tuple(below), kind, allows_string)
        return Treatment.RESOLVE

    return rule


def check_placeholders(deployment: Json) -> Iterator[Problem]:
    """Finds texts in one entry of `deployments:` that only look like a placeholder (DC301)."""
    for path, value in leaves(deployment):
        if not isinstance(value, str) or (path[:1] == ("triggers",) and "parameters" in path):
            continue
        for text in malformed_placeholders(value):
            yield Problem(
                path,
                "DC301",
                f"{format_path(path)}: '{text}' is not a placeholder and stays as it is",
                "A placeholder is one name between two braces, as in '{{ build-image.tag }}', "
                "without filters or expressions.",
            )


def _in_job_variables(
    path: JsonPath, kind: PlaceholderKind, allows_string: AllowsString | None
) -> Treatment:
    if kind is PlaceholderKind.DOCUMENT:
        return Treatment.KEEP
    if kind in _REFERENCES and (allows_string is None or allows_string(path)):
        return Treatment.KEEP
    return Treatment.RESOLVE
