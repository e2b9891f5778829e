"""The schedules of a deployment, reconciled one by one so that ids and UI toggles survive.

A schedule is known by its slug; without one, by what it says. A schedule that says something new
takes the place of one that is no longer wanted, so that an edited cron line is an update.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request
from deployctl.api.dialect import Dialect
from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json, canonical_json
from deployctl.deploy.model import Change, Key, Op, Resource, Rule
from deployctl.deploy.resources.base import Pair, ResourceKind, match, same_mapping
from deployctl.templating.values import contains_unknown

FIELDS = ("schedule", "active", "parameters", "slug", "max_scheduled_runs")

_DTSTART = re.compile(r"^DTSTART[^\n]*\n", re.IGNORECASE)


class Schedules(ResourceKind):
    """Children of a deployment, keyed by flow, deployment and slug or content."""

    name = "schedule"
    depth = 3
    rank = 3
    parent = "deployment"

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """Slugs and parameters exist on servers from 3.2 on."""
        rules = {
            "schedule": Rule(same_schedule),
            "active": Rule(default=True),
            "parameters": Rule(same_mapping, default={}),
            "slug": Rule(),
            "max_scheduled_runs": Rule(),
        }
        return {name: rule for name, rule in rules.items() if dialect.accepts("schedule", name)}

    def pair(self, wanted: Sequence[Resource], live: Sequence[Resource]) -> list[Pair]:
        """By slug; by the slug that is replaced; by content; then those without slug in order."""
        return match(wanted, live, _same_slug, _replaces, _same_content, _neither_has_slug)

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """One request for one schedule of the deployment with id `parent`."""
        path = paths.schedules(parent)
        about = f"schedule {change.key[-1]} of deployment {'/'.join(change.key[:2])}"
        if change.op is Op.CREATE:
            return (yield from _create(path, body(change), about))
        assert change.current is not None
        path = f"{path}/{change.current.id}"
        if change.op is Op.DELETE:
            yield [Request("DELETE", path, subject=about, missing_ok=True)]
        else:
            yield [Request("PATCH", path, body(change), subject=about)]
        return change.current.id


def desired_schedule(parent: Key, fields: Mapping[str, Json], ordinal: int = 0) -> Resource:
    """A schedule as `normalise` gives it; `ordinal` tells equal ones without slug apart."""
    own = {name: fields[name] for name in FIELDS if name in fields}
    raw = {"replaces": fields["replaces"]} if fields.get("replaces") else None
    return Resource("schedule", (*parent, _identity(fields, ordinal)), own, raw=raw)


def current_schedules(parent: Key, answers: Sequence[Json]) -> tuple[Resource, ...]:
    """The schedules in a deployment's answer, oldest first as they were declared."""
    items: list[Resource] = []
    seen: dict[str, int] = {}
    for answer in sorted(answers, key=lambda answer: (answer.get("created") or "", answer["id"])):
        identity = _identity(answer, 0)
        ordinal = seen[identity] = seen.get(identity, -1) + 1
        fields = {name: answer.get(name) for name in FIELDS}
        key = (*parent, _identity(answer, ordinal))
        items.append(Resource("schedule", key, fields, id=answer["id"], raw=answer))
    return tuple(items)


def body(change: Change) -> dict[str, Json]:
    """What is sent for a schedule: the declared fields, and a live anchor that stays in phase."""
    assert change.desired is not None
    sent = {**change.desired.fields, **{part.field: part.new for part in change.fields}}
    if change.current is not None:
        sent["schedule"] = _keep_phase(sent["schedule"], change.current.fields["schedule"])
    return sent


def restore_run_limits(
    deployment: str, sent: Sequence[Json], made: Sequence[Json]
) -> ApiCall[None]:
    """Sends `max_scheduled_runs` once more: a POST of the deployment drops it (2.20 and 3.8)."""
    free = list(made)
    requests = []
    for schedule in sent:
        limit = schedule.get("max_scheduled_runs")
        equal = (
            item
            for item in free
            if item.get("slug") == schedule.get("slug")
            and same_schedule(schedule["schedule"], item["schedule"])
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
            text = (
                f"{value:.15g} s"
                if isinstance(value, float | int)
                else _DTSTART.sub("", str(value))
            )
            anchor = f" from {schedule['anchor_date']}" if schedule.get("anchor_date") else ""
            return f"{kind} {text}{anchor}{suffix}"
    return canonical_json(schedule)


def same_schedule(want: Json, have: Json) -> bool:
    """Whether two schedules fire at the same times, as far as the wanted one says.

    The server stores no timezone as UTC, fills in `day_or`, gives an interval without anchor the
    time of its creation, and an RRULE without DTSTART one of its own.
    """
    if have is None or contains_unknown(want):
        return False
    return _meaning(want, want) == _meaning(have, want)


def _meaning(schedule: Json, like: Json) -> dict[str, Json]:
    said = {name: value for name, value in schedule.items() if value is not None}
    meaning: dict[str, Json] = {"timezone": said.get("timezone", "UTC")}
    if "cron" in said:
        meaning |= {"cron": " ".join(said["cron"].split()), "day_or": said.get("day_or", True)}
    if "interval" in said:
        meaning["interval"] = _number(said["interval"])
        if like.get("anchor_date"):
            meaning["anchor_date"] = _instant(said.get("anchor_date"))
    if "rrule" in said:
        rule = str(said["rrule"]).strip()
        anchored = _DTSTART.match(str(like.get("rrule", "")).strip())
        meaning["rrule"] = (rule if anchored else _DTSTART.sub("", rule)).removeprefix("RRULE:")
    return meaning


def _number(value: Json) -> Json:
    return float(value) if isinstance(value, int | float) else value


def _instant(text: Json) -> Json:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return text
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _keep_phase(want: Json, have: Json) -> Json:
    if "interval" in want and not want.get("anchor_date") and have.get("anchor_date"):
        return {**want, "anchor_date": have["anchor_date"]}
    return want


def _identity(fields: Mapping[str, Json], ordinal: int) -> str:
    if fields.get("slug"):
        return f"slug {fields['slug']}"
    schedule = fields["schedule"]
    if isinstance(schedule, dict):
        schedule = {name: value for name, value in schedule.items() if name != "anchor_date"}
    return describe(schedule) + (f" #{ordinal + 1}" if ordinal else "")


def _same_slug(want: Resource, have: Resource) -> bool:
    return bool(want.fields.get("slug")) and want.fields["slug"] == have.fields.get("slug")


def _replaces(want: Resource, have: Resource) -> bool:
    return bool(want.raw) and want.raw["replaces"] == have.fields.get("slug")


def _same_content(want: Resource, have: Resource) -> bool:
    return same_schedule(want.fields["schedule"], have.fields["schedule"])


def _neither_has_slug(want: Resource, have: Resource) -> bool:
    return not want.fields.get("slug") and not have.fields.get("slug")


def _create(path: str, sent: Mapping[str, Json], about: str) -> ApiCall[str]:
    request = Request("POST", path, [sent], idempotent=False, subject=about)
    try:
        (answer,) = yield [request]
    except LostResponse:
        (there,) = yield [Request("GET", path, subject=about)]
        for schedule in there:
            same_slug = schedule.get("slug") == sent.get("slug")
            if same_slug and same_schedule(sent["schedule"], schedule["schedule"]):
                return str(schedule["id"])
        (answer,) = yield [request]
    return str(answer[0]["id"])
