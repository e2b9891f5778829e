"""Findings as SARIF 2.1.0, which GitHub code scanning and editors read.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from urllib.parse import quote

from deployctl import __version__
from deployctl.cli.render import CommandReport
from deployctl.cli.render.findings import default_file, findings, text
from deployctl.core.catalogue import CATALOGUE, page
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.json_values import Json

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render(report: CommandReport) -> str:
    """One run, with a rule for each code that occurs."""
    found = list(findings(report))
    codes = sorted({item.code for item in found})
    run = {
        "tool": {
            "driver": {
                "name": "deployctl",
                "semanticVersion": __version__,
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(item, codes.index(item.code), report) for item in found],
    }
    document = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, ensure_ascii=False, indent=2)


def _rule(code: str) -> Json:
    entry = CATALOGUE[code]
    return {
        "id": code,
        "shortDescription": {"text": entry.title},
        "help": {"text": f"deployctl explain {code}", "markdown": page(code)},
        "defaultConfiguration": {"level": _LEVELS[entry.severity]},
    }


def _result(item: Diagnostic, index: int, report: CommandReport) -> Json:
    # GitHub takes no result without a position, so the first file stands for none.
    location = _location(item.span) if item.span else _artifact(default_file(report))
    result: dict[str, Json] = {
        "ruleId": item.code,
        "ruleIndex": index,
        "level": _LEVELS[item.severity],
        "message": {"text": text(item)},
        "locations": [{"physicalLocation": location}],
    }
    if item.related:
        result["relatedLocations"] = [
            {"physicalLocation": _location(span), "message": {"text": label}}
            for span, label in item.related
        ]
    return result


def _artifact(file: str) -> dict[str, Json]:
    return {"artifactLocation": {"uri": quote(file)}}


def _location(span: Span) -> dict[str, Json]:
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    return {**_artifact(span.file), "region": region}
