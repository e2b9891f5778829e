"""Which value a job variable has: the pool's default, the deployment's, or the run's.

The rules are those of Prefect 3, for both majors: a default that is null is none; a variable
replaces the one below it as a whole, except `env`, which is merged; a name with dots (`env.A`) sets
one value inside a variable. With Prefect, a deployment's `env` hides a run's `env.A`, and Prefect 2
ignores dots; here what the run says always wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.core.json_values import Json
from deployctl.jobs.environment import merge_environments

Variables = Mapping[str, Json]


def effective_variables(
    properties: Variables, deployment: Variables, run: Variables
) -> dict[str, Json]:
    """The job variables of a run.

    `properties`: those of the pool's `variables` schema. Raises Undescribable for an `env` that is
    no environment.
    """
    defaults = {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, dict) and schema.get("default") is not None
    }
    plain = _replaced(_plain(deployment), _plain(run))
    given = _within(_nested(deployment), plain)
    return _replaced(defaults, _within(_within(given, _nested(run)), _plain(run)))


def _plain(variables: Variables) -> Variables:
    return {name: value for name, value in variables.items() if "." not in name}


def _nested(variables: Variables) -> Variables:
    """The variables with dots in their names, each where its name leads to."""
    tree: dict[str, Json] = {}
    for name, value in variables.items():
        if "." in name:
            *above, last = name.split(".")
            place = tree
            for part in above:
                if not isinstance(place.get(part), dict):
                    place[part] = {}
                place = place[part]
            place[last] = value
    return tree


def _replaced(under: Variables, over: Variables) -> dict[str, Json]:
    """`over` laid over `under`, variable by variable."""
    both = {**under, **over}
    if "env" in both:
        both["env"] = merge_environments(under.get("env"), over.get("env"))
    return both


def _within(under: Variables, over: Variables) -> dict[str, Json]:
    """`over` laid over `under`, and mappings inside mappings."""
    both = dict(under)
    for name, value in over.items():
        below = both.get(name)
        if name == "env":
            both[name] = merge_environments(below, value)
        elif isinstance(below, dict) and isinstance(value, dict):
            both[name] = _within(below, value)
        else:
            both[name] = value
    return both
