"""A deployment's entry in the form that the API's fields have, whichever way it was written.

Done twice: on the file, where text with a template in it stands for anything, and again once the
templates are filled in and their types are known.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.core.json_values import Json
from deployctl.project import keys
from deployctl.project.coerce import coerce, is_unresolved
from deployctl.project.resources import api_values
from deployctl.project.schedules import normalize_schedules
from deployctl.project.triggers import check_triggers
from deployctl.templating.problems import Problem

_CONVERTED = frozenset(
    {"name", "entrypoint", "flow_name", "work_pool", "concurrency_limit", "schedule", "schedules"}
)
"""Keys that identify the deployment or take another form; all others keep their values."""


def normalize(raw: Mapping[str, Json]) -> tuple[dict[str, Json], list[Problem]]:
    """The declared fields of an entry by the API's names, and what is wrong with them.

    Problems have paths from the entry. What is wrong is left out of the fields.
    """
    entry, problems = coerce(dict(raw), keys.DEPLOYMENT)
    found, wrong = fields(entry)
    # What is empty has been told of, or was emptied because it had been told of.
    return found, [problem for problem in problems if problem.code != "DC126"] + wrong


def fields(entry: Mapping[str, Json]) -> tuple[dict[str, Json], list[Problem]]:
    """The same for an entry that has just been read by `keys.DEPLOYMENT`."""
    kept = {name: value for name, value in entry.items() if name not in _CONVERTED}
    found = api_values(keys.DEPLOYMENT, kept)
    for name in ("triggers", "sla"):
        if isinstance(found.get(name), list):
            found[name] = [item for item in found[name] if item is not None]
    pool = entry.get("work_pool")
    if isinstance(pool, dict):
        found |= api_values(keys.WORK_POOL, pool)
    found |= _concurrency(entry)
    schedules, problems = _schedules(entry)
    found |= schedules
    if isinstance(triggers := entry.get("triggers"), list):
        wrong = check_triggers(triggers, entry.get("name") or "")
        problems += [problem.below(("triggers",)) for problem in wrong]
    return found, problems


def _concurrency(entry: Mapping[str, Json]) -> dict[str, Json]:
    """The limit and its options; a mapping that names no strategy enqueues, as the docs say."""
    if "concurrency_limit" not in entry:
        return {}
    limit = entry["concurrency_limit"]
    if not isinstance(limit, dict):
        return {"concurrency_limit": limit, "concurrency_options": None}
    options = {name: value for name, value in limit.items() if name != "limit"}
    return {
        "concurrency_limit": limit.get("limit"),
        "concurrency_options": {"collision_strategy": "ENQUEUE", **options},
    }


def _schedules(entry: Mapping[str, Json]) -> tuple[dict[str, Json], list[Problem]]:
    """`schedules`, or the one `schedule` of the older form; an empty one of those says nothing."""
    one, many = entry.get("schedule"), entry.get("schedules")
    if one and "schedules" in entry:
        message = "'schedule' and 'schedules' are both given"
        return {}, [Problem(("schedule",), "DC209", message, "put all into 'schedules'")]
    if "schedules" not in entry and not one:
        return {}, []
    if is_unresolved(one) or is_unresolved(many):
        return {"schedules": one or many}, []
    if one:
        found, problems = normalize_schedules([one])
        return {"schedules": found}, [_in_single(problem) for problem in problems]
    found, problems = normalize_schedules(many or ())
    return {"schedules": found}, [problem.below(("schedules",)) for problem in problems]


def _in_single(problem: Problem) -> Problem:
    """A problem of the only schedule, at the path that it has under `schedule`."""
    return Problem(
        ("schedule", *problem.path[1:]),
        problem.code,
        problem.message,
        problem.help,
        problem.severity,
    )
