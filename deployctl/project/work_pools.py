"""Parses the work pools that a file declares, with their queues and base job templates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.project.coerce import is_unresolved
from deployctl.project.document import Document
from deployctl.project.job_templates import TemplateError, read_object
from deployctl.project.shapes import ABSENT
from deployctl.templating.problems import Problem


def parse_work_pools(
    document: Document, pools: Iterable[Json], folder: Path, report: Report
) -> Iterator[Mapping[str, Json]]:
    """The declared pools, with the template of a file in `folder` in place of its path.

    Problems are reported. Pools without a name or type are left out, and so are queues whose
    priority is not known yet.
    """
    seen: set[str] = set()
    for index, pool in enumerate(pools):
        if not isinstance(pool, dict):
            continue
        here: JsonPath = ("work_pools", index)
        name, template = pool.get("name"), pool.get("base_job_template")
        if not name or not pool.get("type"):
            continue
        if name in seen:
            report.add(
                "DC129", f"the work pool '{name}' is given twice", document.spans.value(here)
            )
        seen.add(name)
        if isinstance(template, str):
            try:
                template, _ = read_object(folder / template)
            except TemplateError as error:
                report.add(
                    "DC130",
                    f"the template of work pool '{name}' cannot be read: {error.message}",
                    document.spans.value((*here, "base_job_template")),
                    help="Give the path of a JSON file, relative to this file's folder.",
                )
                template = ABSENT
        found = {**pool, "base_job_template": template}
        if "queues" in pool:
            queues = pool["queues"]
            found["queues"] = [queue for queue in queues if _is_known(queue)]
            problems = [problem.below((*here, "queues")) for problem in _same(queues)]
            document.report_problems(problems, report)
        yield {key: value for key, value in found.items() if key in pool and value is not ABSENT}


def _is_known(queue: Json) -> bool:
    return isinstance(queue, dict) and not is_unresolved(queue.get("priority"))


def _same(queues: Iterable[Json]) -> Iterator[Problem]:
    """Names and priorities that two queues of a pool share."""
    seen: set[tuple[str, Json]] = set()
    for index, queue in enumerate(queues):
        for key, code in (("name", "DC129"), ("priority", "DC132")):
            value = queue.get(key) if isinstance(queue, dict) else None
            if (key, value) in seen:
                message = f"another queue of this work pool has the {key} '{value}'"
                yield Problem((index, key), code, message, f"Give each queue its own {key}.")
            elif value is not None and not is_unresolved(value):
                seen.add((key, value))


def check_queue(
    fields: Mapping[str, Json], pools: Iterable[Mapping[str, Json]]
) -> Iterator[Problem]:
    """A queue of a deployment that its pool, which declares queues, does not declare (DC516).

    `fields` are those of the API; the path is in the entry.
    """
    name, queue = fields.get("work_pool_name"), fields.get("work_queue_name")
    if not queue or queue == "default" or is_unresolved(queue):
        return
    for pool in pools:
        known = [str(each["name"]) for each in pool.get("queues") or () if each.get("name")]
        if (
            pool["name"] == name
            and known
            and queue not in known
            and not any(map(is_unresolved, known))
        ):
            message = f"the work pool '{name}' declares no queue '{queue}'"
            help_ = did_you_mean(queue, known) or (
                f"Declare it under 'queues', or use {quoted(known)} or 'default'."
            )
            yield Problem(("work_pool", "work_queue_name"), "DC516", message, help_)
