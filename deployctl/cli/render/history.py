"""The history of a project as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.text import Text

from deployctl.cli.render.differences import differences, inline_text, path_text
from deployctl.cli.render.layout import MARKS
from deployctl.cli.render.names import OPS
from deployctl.cli.render.schemas import ABSENT
from deployctl.cli.render.table import relative_time, table
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.deploy.history import RecordedChange, Revision
from deployctl.deploy.model import Op

_HEADER = ("revision", "when", "command", "by", "commit", "changes")
_COMMIT = 8
"""Characters of a commit."""


def history(revisions: Sequence[Revision], now: datetime) -> Iterator[Text]:
    """A table, newest first."""
    rows = [
        (
            each.short_id,
            relative_time(each.created, now),
            each.command,
            each.author,
            each.commit[:_COMMIT],
            _counts(each),
        )
        for each in revisions
    ]
    yield from table(_HEADER, rows) if rows else [Text("No revisions.")]


def revision(found: Revision) -> Iterator[Text]:
    """One revision: its facts, then each change field by field."""
    by = f" by {found.author}" + f" from commit {found.commit}" * bool(found.commit)
    yield Text(redact(f"revision {found.id}: {found.command}{by}, {found.created}"), style="bold")
    for change in found.changes:
        yield from _change(change, 2)
    if not found.has_values:
        yield Text("  It was too large to be recorded with its values.", style="dim")


def history_json(project: str, revisions: Sequence[Revision]) -> dict[str, Json]:
    """The keys of the JSON output."""
    return {
        "project": project,
        "revisions": [
            {
                "id": each.id,
                "created": each.created,
                "command": each.command,
                "author": each.author,
                "commit": each.commit or None,
                "has_values": each.has_values,
                "changes": list(map(_change_json, each.changes)),
            }
            for each in revisions
        ],
    }


def _counts(found: Revision) -> str:
    """`2 created, 1 updated`."""
    counts = Counter(each.op for each in found.changes)
    words = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted"}
    return ", ".join(f"{counts[op]} {word}" for op, word in words.items() if counts[op])


def _change_json(change: RecordedChange) -> dict[str, Json]:
    return {
        "kind": change.kind,
        "name": "/".join(change.key),
        "op": OPS[change.op],
        "fields": [
            {"field": name, "old": old, "new": new} for name, (old, new) in change.fields.items()
        ],
        "parts": list(map(_change_json, change.parts)),
    }


def _change(change: RecordedChange, indent: int) -> Iterator[Text]:
    """What was done to a resource; an update field by field, then its parts."""
    mark, style = MARKS[change.op]
    yield Text.assemble((f"{' ' * indent}{mark}", style), f" {redact(change.title)}")
    if change.op is not Op.UPDATE:
        return
    for name, (before, after) in change.fields.items():
        for path, old, new in differences(before, after, (name,)):
            text = f"{path_text(path)}  {_side(old)} → {_side(new)}"
            yield Text(redact(f"{' ' * indent}    {text}"))
    for part in change.parts:
        yield from _change(part, indent + 4)


def _side(value: Json) -> str:
    return "none" if value is None or value is ABSENT else inline_text(value)
