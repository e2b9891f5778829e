"""Output of `deployctl work-pool`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rich.text import Text

from deployctl.app.operating.work_pools import without_secrets
from deployctl.cli.render.table import table
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

POOL_FIELDS = ("id", "name", "type", "status", "is_paused", "concurrency_limit", "description")


def pools(items: Sequence[Json]) -> Iterator[Text]:
    """A table with one row per pool."""
    if not items:
        yield Text("There are no work pools.")
        return
    header = ("name", "type", "status", "limit", "description")
    yield from table(header, [_row(pool) for pool in items])


def pool(item: Json) -> Iterator[Text]:
    """The fields of one pool, and its base job template as JSON."""
    for name in POOL_FIELDS:
        if item.get(name) not in (None, ""):
            yield Text(f"{name + ':':<19}{redact(str(item[name]))}")
    template = without_secrets(item)["base_job_template"]
    yield Text(f"base_job_template: {json.dumps(template, indent=2, ensure_ascii=False)}")


def pool_json(item: Json) -> Json:
    """A pool for the JSON output."""
    shown = without_secrets(item)
    return {name: shown.get(name) for name in (*POOL_FIELDS, "base_job_template")}


def _row(item: Json) -> tuple[str, ...]:
    limit = item.get("concurrency_limit")
    state = "PAUSED" if item.get("is_paused") else item.get("status") or ""
    text = item.get("description") or ""
    return item["name"], item["type"], state, "" if limit is None else str(limit), text
