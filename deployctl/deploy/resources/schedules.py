"""The schedules of a deployment, reconciled one by one so that ids and UI toggles survive.

A schedule is identified by its slug; without one, by its times and parameters. A schedule with new
content takes the place of one that is no longer desired, so that an edited cron line is an update.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json, canonical_json
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import Pair, ResourceKind, current_resource, match
from deployctl.project.comparisons import DTSTART, same_mapping, same_schedule
from deployctl.project.resources import accepted, declared_fields


class Schedules(ResourceKind):
    """Children of a deployment, keyed by flow, deployment and slug or content."""

    name = "schedule"
    depth = 3
    rank = 8
    parent = "deployment"

    def pair(self, desired: Sequence[Resource], current: Sequence[Resource]) -> list[Pair]:
        """By slug, replaced slug, times and parameters, times, parameters; then in order.

        If some current schedules are going to be deleted, an edited schedule rather takes the place
        of one that is active: it must not inherit that another was switched off.
        """
        if len(current) > len(desired):
            current = sorted(current, key=lambda each: each.fields.get("active") is False)
        return match(
            desired,
            current,
            _same_slug,
            _replaces,
            lambda want, have: _same_times(want, have) and _same_parameters(want, have),
            _same_times,
            lambda want, have: _neither_has_slug(want, have) and _same_parameters(want, have),
            _neither_has_slug,
        )

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:
        """One request for one schedule of the deployment with id `parent`.

        A PATCH repeats the current values, because the server empties what it leaves out (3.9.1).
        """
        path = paths.schedules(parent)
        subject = f"schedule {change.key[-1]} of deployment {'/'.join(change.key[:2])}"
        if change.op is Op.CREATE:
            return (yield from _create(path, body(change), subject))
        assert change.current is not None
        path = paths.schedule(parent, change.current.id)
        if change.op is Op.DELETE:
            yield [Request("DELETE", path, subject=subject, missing_ok=True)]
        else:
            kept = {k: v for k, v in change.current.fields.items() if v is not None}
            sent = accepted(dialect, "schedule", {**kept, **body(change)}, "update")
            yield [Request("PATCH", path, sent, subject=subject)]
        return change.current.id


def desired_schedules(parent: Key, schedules: Sequence[Mapping[str, Json]]) -> list[Resource]:
    """The schedules of a deployment as `normalize` returns them."""
    return [
        Resource(
            "schedule",
            (*parent, identity),
            declared_fields("schedule", fields),
            raw={"replaces": fields["replaces"]} if fields.get("replaces") else None,
        )
        for fields, identity in zip(schedules, _identities(schedules), strict=True)
    ]


def current_schedules(
    parent: Key, answers: Sequence[Json], dialect: Dialect
) -> tuple[Resource, ...]:
    """The schedules in a deployment as the server returned it, oldest first."""
    by_age = sorted(answers, key=lambda answer: (answer.get("created") or "", answer["id"]))
    return tuple(
        current_resource("schedule", (*parent, identity), answer, dialect)
        for answer, identity in zip(by_age, _identities(by_age), strict=True)
    )


def body(change: Change) -> dict[str, Json]:
    """What is sent for a schedule: the declared fields, and the current anchor of an interval."""
    sent = base.body(change)
    if change.current is not None:
        sent["schedule"] = _keep_anchor(sent["schedule"], change.current.fields["schedule"])
    return sent


def restore_run_limits(
    deployment: str, sent: Sequence[Json], created: Sequence[Json]
) -> ApiCall[None]:
    """Sends `max_scheduled_runs` again: a POST of the deployment drops it (2.20 and 3.8).

    Parameters are repeated: a PATCH without them empties them (3.4 to 3.9.1). A schedule that is
    gone was replaced by another command's POST, which does the same.
    """
    free = list(created)
    requests = []
    for schedule in sent:
        limit = schedule.get("max_scheduled_runs")
        equal = (each for each in free if _is_created(schedule, each))
        if limit is not None and (found := next(equal, None)) is not None:
            free.remove(found)
            path = paths.schedule(deployment, found["id"])
            repeated = ("max_scheduled_runs", "parameters")
            sent_again = {name: schedule[name] for name in repeated if schedule.get(name)}
            requests.append(Request("PATCH", path, sent_again, missing_ok=True))
    if requests:
        yield requests


def describe(schedule: Json) -> str:
    """A schedule in one line: `cron 0 7 * * * Asia/Taipei`."""
    if not isinstance(schedule, dict):
        return str(schedule)
    zone = schedule.get("timezone")
    suffix = f" {zone}" if zone and zone != "UTC" else ""
    for kind in ("cron", "interval", "rrule"):
        if schedule.get(kind) is not None:
            value = schedule[kind]
            number = isinstance(value, float | int)
            rule = DTSTART.sub("", str(value)).removeprefix("RRULE:")
            text = f"{value:.15g} s" if number else " ".join(rule.split())
            anchor = f" from {schedule['anchor_date']}" if schedule.get("anchor_date") else ""
            return f"{kind} {text}{anchor}{suffix}"
    return canonical_json(schedule)


def _keep_anchor(desired: Json, current: Json) -> Json:
    """An interval without anchor keeps the current one, so that its runs stay in phase."""
    if "interval" in desired and not desired.get("anchor_date") and current.get("anchor_date"):
        return {**desired, "anchor_date": current["anchor_date"]}
    return desired


def _identities(schedules: Sequence[Mapping[str, Json]]) -> list[str]:
    """What identifies each schedule among those of its deployment: its slug, or its times.

    Those of equal times are numbered by their parameters, so that a schedule has the same number in
    the file and on the server, whatever their order. Parameters themselves may be secrets.
    """
    names = [_identity(fields) for fields in schedules]
    numbers: dict[str, int] = {}
    identities = list(names)
    for index in sorted(range(len(names)), key=lambda index: _parameters_text(schedules[index])):
        number = numbers[names[index]] = numbers.get(names[index], 0) + 1
        if number > 1:
            identities[index] += f" #{number}"
    return identities


def _identity(fields: Mapping[str, Json]) -> str:
    if fields.get("slug"):
        return f"slug {fields['slug']}"
    schedule = fields["schedule"]
    if isinstance(schedule, dict):
        schedule = {name: value for name, value in schedule.items() if name != "anchor_date"}
    return describe(schedule)


def _parameters_text(fields: Mapping[str, Json]) -> str:
    """A text to sort by; values that only a build step will know have one, too."""
    return json.dumps(fields.get("parameters") or {}, sort_keys=True, default=str)


def _same_slug(desired: Resource, current: Resource) -> bool:
    slug = desired.fields.get("slug")
    return bool(slug) and slug == current.fields.get("slug")


def _replaces(desired: Resource, current: Resource) -> bool:
    return bool(desired.raw) and desired.raw["replaces"] == current.fields.get("slug")


def _same_times(desired: Resource, current: Resource) -> bool:
    return same_schedule(desired.fields["schedule"], current.fields["schedule"])


def _same_parameters(desired: Resource, current: Resource) -> bool:
    return same_mapping(desired.fields.get("parameters"), current.fields.get("parameters"))


def _neither_has_slug(desired: Resource, current: Resource) -> bool:
    return not desired.fields.get("slug") and not current.fields.get("slug")


def _is_created(sent: Json, answer: Json) -> bool:
    """Whether the server's schedule is the one that was sent."""
    return (
        answer.get("slug") == sent.get("slug")
        and same_schedule(sent["schedule"], answer["schedule"])
        and same_mapping(sent.get("parameters"), answer.get("parameters"))
    )


def _create(path: str, sent: Mapping[str, Json], subject: str) -> ApiCall[str]:
    """Creates a schedule; after a lost response it is looked up before the request is repeated."""
    request = Request("POST", path, [sent], idempotent=False, subject=subject)
    try:
        (answer,) = yield [request]
    except LostResponse:
        (existing,) = yield [Request("GET", path, subject=subject)]
        for schedule in existing:
            if _is_created(sent, schedule):
                return str(schedule["id"])
        (answer,) = yield [request]
    return str(answer[0]["id"])
