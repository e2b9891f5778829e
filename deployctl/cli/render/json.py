"""One JSON object per command. `version` is raised when a field changes its meaning or goes."""

from __future__ import annotations

import json
from dataclasses import asdict

from deployctl.cli.render import Outcome
from deployctl.cli.render.values import jsonable
from deployctl.core.diagnostics import Diagnostic
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, Result

VERSION = 1


def render(outcome: Outcome) -> str:
    """The whole outcome; the same keys whether or not anything went wrong."""
    data: dict[str, Json] = {
        "version": VERSION,
        "command": outcome.command,
        "diagnostics": [_diagnostic(item) for item in outcome.diagnostics],
        **outcome.data,
    }
    if outcome.plan is not None:
        data["changes"] = [_change(change) for change in outcome.plan.changes]
        data["summary"] = {op.value: outcome.plan.count(op) for op in Op}
    if outcome.results:
        data["results"] = [_result(result) for result in outcome.results]
    return json.dumps(data, ensure_ascii=False, indent=2)


def _diagnostic(item: Diagnostic) -> Json:
    return {
        "code": item.code,
        "severity": item.severity.value,
        "message": redact(item.message),
        "help": redact(item.help) if item.help else None,
        "span": asdict(item.span) if item.span else None,
        "related": [{"span": asdict(span), "message": text} for span, text in item.related],
    }


def _change(change: Change) -> Json:
    return {
        "kind": change.kind,
        "name": change.name,
        "key": list(change.key),
        "op": change.effective_op.value,
        "fields": [
            {
                "field": part.field,
                "old": jsonable(part.old, part.field),
                "new": jsonable(part.new, part.field),
            }
            for part in change.fields
        ],
        "notes": list(change.notes),
        "children": [_change(child) for child in change.children if child.is_needed],
    }


def _result(result: Result) -> Json:
    return {
        "kind": result.change.kind,
        "name": result.change.name,
        "op": result.change.effective_op.value,
        "status": result.status.value,
        "error": redact(result.error.message) if result.error else None,
        "reason": result.reason or None,
        "done": list(result.done),
    }
