"""Precedence of job variables: the pool's defaults, the deployment's values, the run's values.

The rules are those of Prefect 3, for both majors: a default of null is no default; a variable
replaces a weaker one as a whole, except `env`, which is merged; a name with dots (`env.A`) sets one
value inside a variable. In Prefect, a deployment's `env` hides a run's `env.A`, and Prefect 2
ignores dots; here the run always wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.core.json_values import Json
from deployctl.jobs.environment import merge_environments

Variables = Mapping[str, Json]


def effective_variables(properties: Variables, deployment: Variables, run: Variables) -> Variables:
    """The job variables of a run.

    `properties` are those of the pool's `variables` schema. Raises InvalidJobSpec for an `env` that
    is not an environment.
    """
    defaults = {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, dict) and schema.get("default") is not None
    }
    plain = _replace(_undotted(deployment), _undotted(run))
    values = _merge(_expand_dotted(deployment), plain)
    return _replace(defaults, _merge(_merge(values, _expand_dotted(run)), _undotted(run)))


def _undotted(variables: Variables) -> Variables:
    return {name: value for name, value in variables.items() if "." not in name}


def _expand_dotted(variables: Variables) -> Variables:
    """The variables with dots in their names as nested mappings: `a.b` becomes `{a: {b: …}}`."""
    tree: dict[str, Json] = {}
    for name, value in variables.items():
        if "." in name:
            *parents, last = name.split(".")
            node = tree
            for part in parents:
                if not isinstance(node.get(part), dict):
                    node[part] = {}
                node = node[part]
            node[last] = value
    return tree


def _replace(base: Variables, override: Variables) -> Variables:
    """Shallow merge: `override` replaces whole variables of `base`, except `env`."""
    result = {**base, **override}
    if "env" in result:
        result["env"] = merge_environments(base.get("env"), override.get("env"))
    return result


def _merge(base: Variables, override: Variables) -> Variables:
    """Deep merge: mappings of `override` are merged into those of `base`."""
    result = dict(base)
    for name, value in override.items():
        current = result.get(name)
        if name == "env":
            result[name] = merge_environments(current, value)
        elif isinstance(current, dict) and isinstance(value, dict):
            result[name] = _merge(current, value)
        else:
            result[name] = value
    return result
