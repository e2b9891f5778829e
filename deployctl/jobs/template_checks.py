"""Checks of base job templates with the rules by which the Prefect server refuses a work pool.

As in 2.20.26 and 3.9.1: a template is empty or has both parts; each placeholder of
`job_configuration` is the name of a variable; the variables are a valid JSON Schema, and their
defaults fit it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.suggest import did_you_mean
from deployctl.jobs.variables import PoolVariables
from deployctl.templating.grammar import placeholders
from deployctl.templating.problems import Problem


def check_base_job_template(template: Mapping[str, Json]) -> Iterator[Problem]:
    """The problems of a template, with paths in it."""
    if not template:
        return
    for part in ("job_configuration", "variables"):
        if not template.get(part) or not isinstance(template[part], Mapping):
            message = f"a base job template needs the mapping '{part}'"
            yield Problem((), "DC533", message, f"Add '{part}', or leave the template out.")
            return
    if not isinstance(template["variables"].get("properties", {}), Mapping):
        path = ("variables", "properties")
        yield Problem(path, "DC533", "'properties' must be a mapping", "List the variables in it.")
        return
    variables = PoolVariables(template)
    yield from _undeclared(template["job_configuration"], variables.names)
    yield from (problem.below(("variables",)) for problem in variables.check_defaults())
    yield from _unused(template["job_configuration"], variables.names)


def _undeclared(
    configuration: Mapping[str, Json], variables: Mapping[str, Json]
) -> Iterator[Problem]:
    """Placeholders that name no variable (DC534)."""
    for path, name in _placeholder_names(configuration):
        if name not in variables:
            guess = did_you_mean(name, variables)
            yield Problem(
                ("job_configuration", *path),
                "DC534",
                f"'{{{{ {name} }}}}' is no variable of this base job template",
                guess or f"Declare '{name}' in 'properties' under 'variables'.",
            )


def _unused(configuration: Mapping[str, Json], variables: Mapping[str, Json]) -> Iterator[Problem]:
    """Variables that no placeholder names (DC536)."""
    used = {name for _, name in _placeholder_names(configuration)}
    for name in variables:
        if name not in used:
            yield Problem(
                ("variables", "properties", name),
                "DC536",
                f"'job_configuration' does not use the variable '{name}', which has no effect",
                f"Write '{{{{ {name} }}}}' where it belongs, or remove the variable.",
                Severity.WARNING,
                at_key=True,
            )


def _placeholder_names(configuration: Mapping[str, Json]) -> Iterator[tuple[JsonPath, str]]:
    """The names in all placeholders, those in nested keys included, with the key they are below."""
    for key, value in configuration.items():
        for placeholder in placeholders(json.dumps(value, ensure_ascii=False)):
            yield (key,), placeholder.name
