"""The schedules of a deployment, reconciled one by one so that ids and UI toggles survive.

A schedule is known by its slug; without one, by what it says. A schedule that says something new
takes the place of one that is no longer wanted, so that an edited cron line is an update.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from deployctl.api.dialect import Dialect
from deployctl.api.talk import Request, Talk
from deployctl.core.errors import LostAnswer
from deployctl.core.values import Json, canonical
from deployctl.deploy.kinds.base import Kind, Pair
from deployctl.deploy.model import Change, Item, Key, Op, Rule

FIELDS = ("schedule", "active", "parameters", "slug", "max_scheduled_runs")

_DTSTART = re.compile(r"^DTSTART[^\n]*\n", re.IGNORECASE)


class Schedules(Kind):
    """Children of a deployment, keyed by flow, deployment and slug or content."""

    name = "schedule"
    rank = 3
    parent = "deployment"

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """Slugs and parameters exist on servers from 3.2 on."""
        rules = {
            "schedule": Rule(same_schedule),
            "active": Rule(default=True),
            "parameters": Rule(_same_mapping, default={}),
            "slug": Rule(),
            "max_scheduled_runs": Rule(),
        }
        return {name: rule for name, rule in rules.items() if dialect.takes("schedule", name)}

    def pair(self, wanted: Sequence[Item], live: Sequence[Item]) -> list[Pair]:
        """By key; then renamed ones by the slug they replace; then what is left, in order."""
        pairs = super().pair(wanted, live)
        free = [have for want, have in pairs if want is None and have is not None]
        result: list[Pair] = []
        for want, have in pairs:
            if want is not None and have is None:
                have = _stand_in(want, free)
                if have is not None:
                    free.remove(have)
            if want is not None:
                result.append((want, have))
        return result + [(None, have) for have in free]

    def write(self, change: Change, parent: str, dialect: Dialect) -> Talk[str]:  # noqa: ARG002
        """One request for one schedule of the deployment with id `parent`."""
        path = f"/deployments/{parent}/schedules"
        about = f"schedule {change.key[-1]} of deployment {'/'.join(change.key[:2])}"
        if change.op is Op.CREATE:
            return (yield from _create(path, body(change), about))
        assert change.have is not None
        path = f"{path}/{change.have.id}"
        if change.op is Op.DELETE:
            yield [Request("DELETE", path, about=about, missing_ok=True)]
        else:
            yield [Request("PATCH", path, body(change), about=about)]
        return change.have.id


def wanted_schedule(parent: Key, fields: Mapping[str, Json], ordinal: int = 0) -> Item:
    """A schedule as `normalise` gives it; `ordinal` tells equal ones without slug apart."""
    own = {name: fields[name] for name in FIELDS if name in fields}
    raw = {"replaces": fields["replaces"]} if fields.get("replaces") else None
    return Item("schedule", (*parent, _identity(fields, ordinal)), own, raw=raw)


def live_schedules(parent: Key, answers: Sequence[Json]) -> tuple[Item, ...]:
    """The schedules in a deployment's answer, oldest first as they were declared."""
    items: list[Item] = []
    seen: dict[str, int] = {}
    for answer in sorted(answers, key=lambda answer: (answer.get("created") or "", answer["id"])):
        identity = _identity(answer, 0)
        ordinal = seen[identity] = seen.get(identity, -1) + 1
        fields = {name: answer.get(name) for name in FIELDS}
        key = (*parent, _identity(answer, ordinal))
        items.append(Item("schedule", key, fields, id=answer["id"], raw=answer))
    return tuple(items)


def body(change: Change) -> dict[str, Json]:
    """What is sent for a schedule: the declared fields, and a live anchor that stays in phase."""
    assert change.want is not None
    sent = {**change.want.fields, **{part.field: part.new for part in change.fields}}
    if change.have is not None:
        sent["schedule"] = _keep_phase(sent["schedule"], change.have.fields["schedule"])
    return sent


def show(schedule: Json) -> str:
    """A schedule in one line: `cron 0 7 * * * Asia/Taipei`."""
    zone = schedule.get("timezone")
    suffix = f" {zone}" if zone and zone != "UTC" else ""
    for kind in ("cron", "interval", "rrule"):
        if schedule.get(kind) is not None:
            value = schedule[kind]
            text = f"{value:g} s" if isinstance(value, float | int) else _DTSTART.sub("", value)
            anchor = f" from {schedule['anchor_date']}" if schedule.get("anchor_date") else ""
            return f"{kind} {text}{anchor}{suffix}"
    return canonical(schedule)


def same_schedule(want: Json, have: Json) -> bool:
    """Whether two schedules fire at the same times, as far as the wanted one says.

    The server stores no timezone as UTC, fills in `day_or`, gives an interval without anchor the
    time of its creation, and an RRULE without DTSTART one of its own.
    """
    return have is not None and _meaning(want, want) == _meaning(have, want)


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


def _same_mapping(want: Json, have: Json) -> bool:
    return (want or {}) == (have or {})


def _identity(fields: Mapping[str, Json], ordinal: int) -> str:
    if fields.get("slug"):
        return f"slug {fields['slug']}"
    schedule = dict(fields["schedule"])
    schedule.pop("anchor_date", None)
    return show(schedule) + (f" #{ordinal + 1}" if ordinal else "")


def _stand_in(want: Item, free: Sequence[Item]) -> Item | None:
    replaced = (want.raw or {}).get("replaces")
    if replaced:
        return next((item for item in free if item.fields.get("slug") == replaced), None)
    schedule = want.fields["schedule"]
    unnamed = [item for item in free if not item.fields.get("slug")]
    equal = [item for item in free if same_schedule(schedule, item.fields["schedule"])]
    candidates = equal or ([] if want.fields.get("slug") else unnamed)
    return candidates[0] if candidates else None


def _create(path: str, sent: Mapping[str, Json], about: str) -> Talk[str]:
    request = Request("POST", path, [sent], repeat=False, about=about)
    try:
        (answer,) = yield [request]
    except LostAnswer:
        (there,) = yield [Request("GET", path, about=about)]
        for schedule in there:
            same_slug = schedule.get("slug") == sent.get("slug")
            if same_slug and same_schedule(sent["schedule"], schedule["schedule"]):
                return str(schedule["id"])
        (answer,) = yield [request]
    return str(answer[0]["id"])
