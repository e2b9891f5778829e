"""The differences of a change, one row for each part that differs. Secrets are masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from deployctl.cli.render.schemas import ABSENT, parameters, schema_differences
from deployctl.cli.render.values import inline
from deployctl.core.json_values import Json, JsonPath, canonical_json
from deployctl.core.redact import mask_secrets
from deployctl.deploy.model import Change, FieldChange, Op, Resource, secret_names
from deployctl.deploy.resources import schedules

SCHEMA = "parameter_openapi_schema"
SCHEMA_LABEL = "parameters' schema"
_UNSHOWN = frozenset({"version_info"})
"""Fields that are sent along and never compared."""
_PARTS = {"work_queue": "queue"}
"""Kinds of children by the names of the file, where they differ."""


@dataclass(frozen=True, slots=True)
class Row:
    """One part of a resource that changes."""

    label: str
    old: Json = ABSENT
    new: Json = ABSENT
    reason: str = ""

    @property
    def op(self) -> Op:
        """What happens to the part."""
        if self.old is ABSENT:
            return Op.CREATE
        return Op.DELETE if self.new is ABSENT else Op.UPDATE


def rows(change: Change) -> list[Row]:
    """The differences of an update and of its children."""
    found = [row for part in change.fields for row in _field_rows(change, part)]
    for child in change.children:
        if child.is_needed:
            found += _child_rows(child)
    return found


def tree(change: Change) -> dict[str, Json]:
    """What a create declares, in the form of the file; empty values are left out."""
    found: dict[str, Json] = {}
    for part in change.fields:
        if part.field in _UNSHOWN or part.new in (None, [], {}, ""):
            continue
        if part.field == SCHEMA:
            if shown := parameters(part.new):
                found[SCHEMA_LABEL] = shown
        elif part.field == "base_job_template" and _is_default(change, part.field):
            found[part.field] = f"the default of {change.desired.fields['type']} pools"  # type: ignore[union-attr]
        else:
            found[part.field] = _short_names(
                mask_secrets(part.new, *secret_names(change), part.field)
            )
    for child in change.children:
        if child.desired is not None:
            name = _PARTS.get(child.kind, child.kind) + "s"
            found.setdefault(name, []).append(_child_value(child.desired))
    return found


def differences(old: Json, new: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Json, Json]]:
    """The paths at which two values differ; descends into mappings and lists of mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key, ABSENT) != new.get(key, ABSENT):
                yield from differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key))
    elif _has_mappings(old) and _has_mappings(new):
        for index, was, will in _aligned(old, new):
            yield from differences(was, will, (*path, index))
    else:
        yield path, old, new


def schedule_text(fields: Mapping[str, Json]) -> str:
    """A schedule with its options in one line: `cron 0 7 * * * (slug: nightly)`."""
    options = {
        name: value
        for name, value in fields.items()
        if name != "schedule" and value not in (None, {}, "") and (name, value) != ("active", True)
    }
    shown = ", ".join(f"{name}: {inline_text(value)}" for name, value in options.items())
    text = schedules.describe(fields["schedule"])
    return f"{text} ({shown})" if shown else text


def inline_text(value: Json) -> str:
    """A value on one line: YAML where that is short, else JSON."""
    return inline(value) or canonical_json(value)


def path_text(path: JsonPath) -> str:
    """A path as in messages, with Prefect's steps by their short names."""
    text = ""
    for part in path:
        name = _short(part) if isinstance(part, str) else f"[{part}]"
        text += name if not text or name.startswith("[") else f".{name}"
    return text


def _field_rows(change: Change, part: FieldChange) -> Iterator[Row]:
    if part.field == SCHEMA:
        for label, old, new in schema_differences(part.old, part.new):
            for path, was, will in differences(old, new, (label,)):
                yield Row(path_text(path), was, will, part.reason)
    elif part.field == "schedule":
        old = schedules.describe(part.old) if part.old else ABSENT
        yield Row("schedule", old, schedules.describe(part.new), part.reason)
    elif part.field not in _UNSHOWN:
        for path, old, new in differences(part.old, part.new, (part.field,)):
            if new is ABSENT and change.kind == "automation":
                continue  # the server adds defaults to a trigger; they are no difference
            reason = part.reason or _reason(old, new)
            names = (*secret_names(change), *path)
            yield Row(path_text(path), _masked(old, names), _masked(new, names), reason)


def _child_rows(child: Change) -> Iterator[Row]:
    label = child_label(child)
    if child.op is Op.DELETE:
        assert child.current is not None
        yield Row(label, old=_part_value(child.current))
    elif child.op is Op.CREATE:
        assert child.desired is not None
        yield Row(label, new=_part_value(child.desired))
    else:
        for row in rows(child):
            if row.label == child.kind:
                yield Row(label, row.old, row.new, row.reason)
            else:
                yield Row(f"{label}: {row.label}", row.old, row.new, row.reason)


def child_label(child: Change) -> str:
    """`automation alert`, `schedule nightly`; only the kind where content is the identity."""
    kind, name = _PARTS.get(child.kind, child.kind), child.key[-1]
    if child.kind != "schedule":
        return f"{kind} {name}"
    is_named = name.startswith("slug ")
    moves = any(part.field == "schedule" for part in child.fields)
    if is_named:
        return f"{kind} {name.removeprefix('slug ')}"
    return kind if moves or child.op in (Op.CREATE, Op.DELETE) else f"{kind} {name}"


def _part_value(child: Resource) -> Json:
    """A child beside a label that names it."""
    fields = {name: value for name, value in child.fields.items() if name != "slug"}
    shown = _child_value(replace(child, fields=fields))
    return {k: v for k, v in shown.items() if k != "name"} if isinstance(shown, dict) else shown


def _child_value(child: Resource) -> Json:
    """A child in the form in which it is shown when it is created or deleted."""
    if child.kind == "schedule":
        return schedule_text(child.fields)
    return mask_secrets({"name": child.key[-1], **_without_empty(dict(child.fields))}, child.kind)


def _without_empty(value: Json) -> Json:
    """A value without the keys whose values are null or empty."""
    if isinstance(value, dict):
        parts = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item not in (None, [], {}, "")}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value


def _reason(old: Json, new: Json) -> str:
    """Why a value differs although it means the same to the user; "" if it doesn't."""
    if not (isinstance(old, str) and isinstance(new, str)):
        return ""
    if new.startswith(f"{old}@sha256:"):
        return "named by the digest of the pushed image (DC523)"
    if "{{ prefect." in new and "{{ prefect." not in old:
        return "stored as a reference, which each run resolves (DC522)"
    return ""


def _has_mappings(value: Json) -> bool:
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _aligned(old: list[Json], new: list[Json]) -> Iterator[tuple[int, Json, Json]]:
    """Pairs of items that differ, with the index in the list that has them."""
    before, after = ([canonical_json(_plain(item)) for item in items] for items in (old, new))
    for op, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if op != "equal":
            for at in range(max(i2 - i1, j2 - j1)):
                was = old[i1 + at] if i1 + at < i2 else ABSENT
                will = new[j1 + at] if j1 + at < j2 else ABSENT
                yield (j1 if will is not ABSENT else i1) + at, was, will


def _plain(value: Json) -> Json:
    """A value whose unknown parts are texts."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _masked(value: Json, path: JsonPath) -> Json:
    if value is ABSENT:
        return value
    return _short_names(mask_secrets(value, *map(str, path)))


def _short_names(value: Json) -> Json:
    """A value with Prefect's steps by their short names: `git_clone`."""
    if isinstance(value, dict):
        return {_short(key): _short_names(item) for key, item in value.items()}
    return [_short_names(item) for item in value] if isinstance(value, list) else value


def _short(key: Json) -> Json:
    is_step = isinstance(key, str) and key.startswith(("prefect.deployments.", "prefect.projects."))
    return key.rpartition(".")[2] if is_step else key


def _is_default(change: Change, field: str) -> bool:
    return change.desired is not None and field in change.desired.passive
