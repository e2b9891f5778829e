"""What `deployctl work-pool` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.text import Text

from deployctl.app.operating.work_pools import without_secrets
from deployctl.cli.render.table import table
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

_FIELDS = ("name", "type", "status", "is_paused", "concurrency_limit", "description")


def pools(found: Sequence[Json]) -> Iterator[Text]:
    """One row per pool."""
    if not found:
        yield Text("There are no work pools.")
        return
    head = ("name", "type", "status", "limit", "description")
    yield from table(head, [_row(pool) for pool in found])


def pool(found: Json) -> Iterator[Text]:
    """The fields of one pool, and its template as JSON."""
    for name in ("id", *_FIELDS):
        if found.get(name) not in (None, ""):
            yield Text(f"{name + ':':<19}{redact(str(found[name]))}")
    template = without_secrets(found)["base_job_template"]
    yield Text(f"base_job_template: {json.dumps(template, indent=2, ensure_ascii=False)}")


def pool_json(found: Json) -> Json:
    """What is said of one pool in JSON."""
    names = ("id", *_FIELDS, "base_job_template")
    shown = without_secrets(found)
    return {name: shown.get(name) for name in names}


def _row(found: Json) -> tuple[str, ...]:
    limit = found.get("concurrency_limit")
    state = "PAUSED" if found.get("is_paused") else found.get("status") or ""
    text = found.get("description") or ""
    return found["name"], found["type"], state, "" if limit is None else str(limit), text
