"""Field changes reduced to the parts that differ, with secrets masked and long values cut."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deployctl.core.json_values import Json, JsonPath, format_path
from deployctl.core.redact import mask_secrets
from deployctl.deploy.model import Change, Op
from deployctl.deploy.resources import schedules
from deployctl.templating.values import Unknown

_MAX_LENGTH = 120
"""Characters of a shown value."""
_ABSENT = object()


def lines(change: Change) -> Iterator[tuple[str, str | None, str | None]]:
    """(field, old, new) for each difference of a change and its children; None: absent."""
    created = change.op is Op.CREATE
    for part in change.fields:
        if part.field == "version_info" or (created and part.new in (None, [], {})):
            continue
        if part.field == "parameter_openapi_schema":
            yield "parameters' schema", None if created else _names(part.old), _names(part.new)
        elif part.field == "base_job_template" and created:
            yield part.field, None, f"variables {_names(part.new.get('variables'))}"
        elif part.field == "schedule":
            old = schedules.describe(part.old) if part.old else None
            yield "schedule", old, schedules.describe(part.new)
        else:
            for path, old, new in differences(part.old, part.new, (part.field,)):
                if new is _ABSENT and change.kind == "automation":
                    continue  # the server adds defaults to a trigger; they are no difference
                yield format_path(path), _show(old, path), _show(new, path)
    for child in change.children:
        if child.is_needed:
            yield from _child(child)


def differences(old: Json, new: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Json, Json]]:
    """The paths at which two values differ; descends where both are mappings."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key, _ABSENT) != new.get(key, _ABSENT):
                yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, key))
    else:
        yield path, old, new


def _child(child: Change) -> Iterator[tuple[str, str | None, str | None]]:
    label = f"{child.kind.replace('_', ' ')} {child.key[-1]}"
    if child.op is Op.DELETE:
        yield label, "exists", None
    elif child.op is Op.CREATE:
        yield label, None, "new"
    else:
        for name, old, new in lines(child):
            yield f"{label}: {name}", old, new


def _names(schema: Json) -> str:
    properties = (schema or {}).get("properties", {}) if isinstance(schema, dict) else {}
    return "(" + ", ".join(properties) + ")"


def _show(value: Json, path: JsonPath) -> str | None:
    if value is _ABSENT or value is None:
        return None
    shown = mask_secrets(value, *map(str, path))
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False, default=str)
    text = " ".join(text.split()) or '""'
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + "…"


def jsonable(value: Json, name: str = "") -> Json:
    """A value for the JSON output: masked, an unknown part as `{"unknown": "step.key"}`."""
    return _plain(mask_secrets(value, name))


def _plain(value: Json) -> Json:
    if isinstance(value, Unknown):
        return {"unknown": f"{value.step}.{value.key}"}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
