"""Checks of the base job templates that a file declares, with the places of their problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.jobs.template_checks import check_base_job_template
from deployctl.project.model import Project


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
                problem = replace(problem, path=(), message=message)
            document.report_problems([problem.below(path)], report)


def _name(entry: Json) -> Json:
    return entry.get("name") if isinstance(entry, Mapping) else None
