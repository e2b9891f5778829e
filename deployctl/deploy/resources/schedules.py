"""The schedules of a deployment, reconciled one by one so that ids and UI toggles survive.

A schedule is identified by its slug; without one, by its content. A schedule with new content takes
the place of one that is no longer desired, so that an edited cron line is an update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json, canonical_json
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import Pair, ResourceKind, current_fields, match
from deployctl.project.comparisons import DTSTART, same_schedule
from deployctl.project.resources import declared_fields


class Schedules(ResourceKind):
    """Children of a deployment, keyed by flow, deployment and slug or content."""

    name = "schedule"
    depth = 3
    rank = 3
    parent = "deployment"

    def pair(self, desired: Sequence[Resource], current: Sequence[Resource]) -> list[Pair]:
        """By slug; by the slug that is replaced; by content; then those without slug in order."""
        return match(desired, current, _same_slug, _replaces, _same_content, _neither_has_slug)

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """One request for one schedule of the deployment with id `parent`."""
        path = paths.schedules(parent)
        subject = f"schedule {change.key[-1]} of deployment {'/'.join(change.key[:2])}"
        if change.op is Op.CREATE:
            return (yield from _create(path, body(change), subject))
        assert change.current is not None
        path = paths.schedule(parent, change.current.id)
        if change.op is Op.DELETE:
            yield [Request("DELETE", path, subject=subject, missing_ok=True)]
        else:
            yield [Request("PATCH", path, body(change), subject=subject)]
        return change.current.id


def desired_schedule(parent: Key, fields: Mapping[str, Json], ordinal: int = 0) -> Resource:
    """A schedule as `normalize` returns it; `ordinal` distinguishes equal ones without slug."""
    own = declared_fields("schedule", fields)
    raw = {"replaces": fields["replaces"]} if fields.get("replaces") else None
    return Resource("schedule", (*parent, _identity(fields, ordinal)), own, raw=raw)


def current_schedules(
    parent: Key, answers: Sequence[Json], dialect: Dialect
) -> tuple[Resource, ...]:
    """The schedules in a deployment as the server returned it, oldest first."""
    resources: list[Resource] = []
    seen: dict[str, int] = {}
    for answer in sorted(answers, key=lambda answer: (answer.get("created") or "", answer["id"])):
        identity = _identity(answer, 0)
        ordinal = seen[identity] = seen.get(identity, -1) + 1
        key = (*parent, _identity(answer, ordinal))
        fields = current_fields("schedule", answer, dialect)
        resources.append(Resource("schedule", key, fields, id=answer["id"], raw=answer))
    return tuple(resources)


def body(change: Change) -> dict[str, Json]:
    """What is sent for a schedule: the declared fields, and the current anchor of an interval."""
    sent = base.body(change)
    if change.current is not None:
        sent["schedule"] = _keep_anchor(sent["schedule"], change.current.fields["schedule"])
    return sent


def restore_run_limits(
    deployment: str, sent: Sequence[Json], created: Sequence[Json]
) -> ApiCall[None]:
    """Sends `max_scheduled_runs` again: a POST of the deployment drops it (2.20 and 3.8)."""
    free = list(created)
    requests = []
    for schedule in sent:
        limit = schedule.get("max_scheduled_runs")
        equal = (
            each
            for each in free
            if each.get("slug") == schedule.get("slug")
            and same_schedule(schedule["schedule"], each["schedule"])
        )
        if limit is not None and (found := next(equal, None)) is not None:
            free.remove(found)
            path = paths.schedule(deployment, found["id"])
            requests.append(Request("PATCH", path, {"max_scheduled_runs": limit}))
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
            text = f"{value:.15g} s" if number else DTSTART.sub("", str(value))
            anchor = f" from {schedule['anchor_date']}" if schedule.get("anchor_date") else ""
            return f"{kind} {text}{anchor}{suffix}"
    return canonical_json(schedule)


def _keep_anchor(desired: Json, current: Json) -> Json:
    """An interval without anchor keeps the current one, so that its runs stay in phase."""
    if "interval" in desired and not desired.get("anchor_date") and current.get("anchor_date"):
        return {**desired, "anchor_date": current["anchor_date"]}
    return desired


def _identity(fields: Mapping[str, Json], ordinal: int) -> str:
    if fields.get("slug"):
        return f"slug {fields['slug']}"
    schedule = fields["schedule"]
    if isinstance(schedule, dict):
        schedule = {name: value for name, value in schedule.items() if name != "anchor_date"}
    return describe(schedule) + (f" #{ordinal + 1}" if ordinal else "")


def _same_slug(desired: Resource, current: Resource) -> bool:
    slug = desired.fields.get("slug")
    return bool(slug) and slug == current.fields.get("slug")


def _replaces(desired: Resource, current: Resource) -> bool:
    return bool(desired.raw) and desired.raw["replaces"] == current.fields.get("slug")


def _same_content(desired: Resource, current: Resource) -> bool:
    return same_schedule(desired.fields["schedule"], current.fields["schedule"])


def _neither_has_slug(desired: Resource, current: Resource) -> bool:
    return not desired.fields.get("slug") and not current.fields.get("slug")


def _create(path: str, sent: Mapping[str, Json], subject: str) -> ApiCall[str]:
    """Creates a schedule; after a lost response it is looked up before the request is repeated."""
    request = Request("POST", path, [sent], idempotent=False, subject=subject)
    try:
        (answer,) = yield [request]
    except LostResponse:
        (existing,) = yield [Request("GET", path, subject=subject)]
        for schedule in existing:
            same_slug = schedule.get("slug") == sent.get("slug")
            if same_slug and same_schedule(sent["schedule"], schedule["schedule"]):
                return str(schedule["id"])
        (answer,) = yield [request]
    return str(answer[0]["id"])
