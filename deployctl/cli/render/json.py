"""The report of a command as one JSON object.

Keys and values are a public interface. `version` is raised when a key changes its meaning or is
removed.
"""

from __future__ import annotations

import json

from deployctl.cli.render import CommandReport
from deployctl.cli.render.differences import schedule_text
from deployctl.cli.render.names import OPS, SEVERITIES, STATUSES
from deployctl.cli.render.values import jsonable
from deployctl.core.diagnostics import Diagnostic, Span
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, Plan, Resource, Result, secret_names

VERSION = 1


def render(report: CommandReport) -> str:
    """The whole report. A command has the same keys whether it succeeds or fails."""
    data: dict[str, Json] = {
        "version": VERSION,
        "command": report.command,
        "diagnostics": [_diagnostic(item) for item in report.diagnostics],
        **report.data,
    }
    if report.plan is not None:
        data["changes"] = [_change(change) for change in report.plan.changes]
        data["summary"] = _summary(report.plan)
        data["undeclared"] = [_undeclared(each) for each in report.plan.undeclared]
    if report.results:
        data["results"] = [_result(result) for result in report.results]
    return json.dumps(data, ensure_ascii=False, indent=2)


def _summary(plan: Plan) -> Json:
    """The number of roots by operation, and of what is changed or undeclared besides."""
    return {
        **{name: plan.count(op) for op, name in OPS.items()},
        "children": {
            name: plan.count_children(op) for op, name in OPS.items() if op is not Op.NONE
        },
        "undeclared": len(plan.undeclared),
    }


def _diagnostic(item: Diagnostic) -> Json:
    return {
        "code": item.code,
        "severity": SEVERITIES[item.severity],
        "message": redact(item.message),
        "help": redact(item.help) if item.help else None,
        "fixable": item.fix is not None,
        "span": _span(item.span) if item.span else None,
        "related": [{"span": _span(span), "message": text} for span, text in item.related],
    }


def _span(span: Span) -> Json:
    return {
        "file": span.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
    }


def _change(change: Change) -> Json:
    return {
        "kind": change.kind,
        "name": change.name,
        "key": list(change.key),
        "op": OPS[change.effective_op],
        **({"renamed_from": "/".join(change.renamed_from)} if change.renamed_from else {}),
        **({"renamed_to": "/".join(change.renamed_to)} if change.renamed_to else {}),
        "fields": [
            {
                "field": part.field,
                "old": jsonable(part.old, *secret_names(change), part.field),
                "new": jsonable(part.new, *secret_names(change), part.field),
                **({"reason": part.reason} if part.reason else {}),
            }
            for part in change.fields
        ],
        "notes": list(change.notes),
        "children": [_change(child) for child in change.children if child.is_needed],
    }


def _undeclared(resource: Resource) -> Json:
    schedules = [child for child in resource.children if child.kind == "schedule"]
    return {
        "kind": resource.kind,
        "name": resource.name,
        "key": list(resource.key),
        "schedules": [schedule_text(each.fields) for each in schedules],
    }


def _result(result: Result) -> Json:
    return {
        "kind": result.change.kind,
        "name": result.change.name,
        "op": OPS[result.change.effective_op],
        "status": STATUSES[result.status],
        "error": redact(result.error.message) if result.error else None,
        "reason": result.reason or None,
        "done": list(result.done),
    }
