"""Converts an entry of `deployments:` to the fields of the API, whichever way it was written.

Text with a placeholder stands for any value until it is rendered; its value is checked then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from deployctl.core.fix import fix_above, fix_below
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


def normalize(
    entry: Mapping[str, Json],
    *,
    changed: Collection[str] | None = None,
    reported: Collection[Problem] = (),
) -> tuple[dict[str, Json], list[Problem]]:
    """The declared fields of an entry by the API's names, and its problems at paths in the entry.

    Fields with errors are left out. With `changed`, only these keys are checked, because the others
    were checked before; `reported` are the problems that the first check found.
    """
    if changed is None:
        coerced, problems = coerce(dict(entry), keys.DEPLOYMENT)
        fields, more = api_fields(coerced)
        return fields, [*_without_empty(problems), *more]
    checked = {*changed, *(("triggers",) if "name" in changed else ())}
    part, problems = coerce({key: entry[key] for key in checked if key in entry}, keys.DEPLOYMENT)
    unchanged = {key: value for key, value in entry.items() if key not in checked}
    fields, more = api_fields({**unchanged, **(part or {})})
    found = [*_without_empty(problems), *more]
    return fields, [
        each for each in found if each.path[:1] and each.path[0] in checked and each not in reported
    ]


def _without_empty(problems: Iterable[Problem]) -> list[Problem]:
    """Leaves DC126 out: an item is empty because it was reported and removed before."""
    return [problem for problem in problems if problem.code != "DC126"]


def api_fields(entry: Mapping[str, Json]) -> tuple[dict[str, Json], list[Problem]]:
    """The same for an entry that `coerce` has just read by `keys.DEPLOYMENT`."""
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
    """The limit and its options; without a strategy, runs are enqueued, as Prefect documents."""
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
    """The `schedules`, or the one `schedule` of the older form; an empty `schedule` is ignored."""
    one, many = entry.get("schedule"), entry.get("schedules")
    if one and "schedules" in entry:
        message = "'schedule' and 'schedules' are both given"
        return {}, [Problem(("schedule",), "DC209", message, "Put all into 'schedules'.")]
    if "schedules" not in entry and not one:
        return {}, []
    if is_unresolved(one) or is_unresolved(many):
        return {"schedules": one or many}, []
    if one:
        found, problems = normalize_schedules([one])
        return {"schedules": found}, [_in_single(problem) for problem in problems]
    if many is None:
        return {"schedules": None}, []
    found, problems = normalize_schedules(many)
    return {"schedules": found}, [problem.below(("schedules",)) for problem in problems]


def _in_single(problem: Problem) -> Problem:
    """The problem of the only schedule, at its path under `schedule`."""
    path = ("schedule", *problem.path[1:])
    return replace(problem, path=path, fix=fix_below(fix_above(problem.fix, 1), ("schedule",)))
