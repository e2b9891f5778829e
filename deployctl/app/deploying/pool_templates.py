"""Checks of the base job templates that a file declares, and of deployments against them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.jobs.template_checks import check_base_job_template
from deployctl.jobs.variables import PoolVariables
from deployctl.project.coerce import is_unresolved
from deployctl.project.model import Project
from deployctl.project.work_pools import check_queue
from deployctl.templating.problems import Problem
from deployctl.templating.values import Unknown


def check_pool_templates(project: Project, report: Report) -> None:
    """Checks the base job templates of declared work pools as the server will.

    A template in a JSON file has no spans; the message says where in it the problem is.
    """
    document = project.document
    entries = document.data.get("work_pools") or ()
    for pool in project.work_pools:
        indexes = [i for i, each in enumerate(entries) if _name(each) == pool["name"]]
        path: JsonPath = ("work_pools", *indexes[:1], "base_job_template")
        file = document.source(path)
        for problem in check_base_job_template(pool.get("base_job_template") or {}):
            if file:
                message = f"{file}: {format_path(problem.path)}: {problem.message}"
                problem = replace(problem, path=(), message=message, fix=None)
            document.report_problems([problem.below(path)], report)


class DeclaredPools:
    """The work pools that a file declares, as far as deployments are checked against them."""

    def __init__(self, project: Project) -> None:
        self._pools = project.work_pools
        templates = {each["name"]: each.get("base_job_template") for each in self._pools}
        self._variables = {
            name: PoolVariables(template) for name, template in templates.items() if template
        }

    def check(self, fields: Mapping[str, Json]) -> Iterator[Problem]:
        """An undeclared queue (DC516), and job variables of the wrong type (DC530).

        `fields` are those of the API; the paths are in the entry. Everything else about job
        variables is checked in a plan, which knows the values of placeholders.
        """
        yield from check_queue(fields, self._pools)
        variables = self._variables.get(fields.get("work_pool_name"))
        values = fields.get("job_variables") or {}
        if variables is None or is_unresolved(values):
            return
        for problem in variables.check(_without_placeholders(values)):
            if problem.code == "DC530":
                yield problem.below(("work_pool", "job_variables"))


def _without_placeholders(value: Json) -> Json:
    """The value with `Unknown` in place of text that a placeholder is in."""
    if isinstance(value, dict):
        return {key: _without_placeholders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_placeholders(item) for item in value]
    return Unknown("", "") if is_unresolved(value) else value


def _name(entry: Json) -> Json:
    return entry.get("name") if isinstance(entry, Mapping) else None
