"""Findings as a code quality report of GitLab.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

from __future__ import annotations

import json
from collections import Counter

from deployctl.cli.render import CommandReport
from deployctl.cli.render.findings import default_file, findings
from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import digest

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.NOTE: "info"}


def render(report: CommandReport) -> str:
    """One entry per finding.

    Fingerprints leave out lines, so that a finding that moves is no new one; equal findings of one
    file are numbered.
    """
    entries = []
    seen: Counter[str] = Counter()
    for item in findings(report):
        file, line = (item.span.file, item.span.line) if item.span else (default_file(report), 1)
        key = digest([item.code, file, item.message])
        seen[key] += 1
        entries.append(
            {
                "description": f"{item.message}. {item.help}" if item.help else item.message,
                "check_name": item.code,
                "fingerprint": digest([key, seen[key]]),
                "severity": _SEVERITIES[item.severity],
                "location": {"path": file, "lines": {"begin": line}},
            }
        )
    return json.dumps(entries, ensure_ascii=False, indent=2)
