"""Reads texts of prefect.yaml for the tests of this folder."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from deployctl.core.diagnostics import Diagnostic, Report, Span
from deployctl.project.document import Document, parse_document
from deployctl.project.model import Project
from deployctl.project.parse import parse_project, report_entries


def parsed(text: str) -> tuple[Document | None, Report]:
    report = Report()
    return parse_document(text, "prefect.yaml", report), report


def document(text: str) -> Document:
    found, report = parsed(text)
    assert found is not None, report.items
    assert not report.items
    return found


def project(text: str, environ: Mapping[str, str] | None = None) -> tuple[Project, Report]:
    report = Report()
    found = parse_document(textwrap.dedent(text), "prefect.yaml", report)
    assert found is not None, report.items
    parsed_project = parse_project(found, report, environ or {})
    report_entries(parsed_project.deployments, report)
    return parsed_project, report


def deployment(body: str, environ: Mapping[str, str] | None = None) -> tuple[Project, Report]:
    """A project of one deployment with these further keys."""
    lines = textwrap.indent(textwrap.dedent(body), "    ")
    return project(f"deployments:\n  - name: d\n    entrypoint: a.py:f\n{lines}", environ)


def codes(report: Report) -> list[str]:
    return [item.code for item in report]


def only(report: Report) -> Diagnostic:
    (found,) = report.items
    return found


def text_at(text: str, span: Span) -> str:
    lines = text.split("\n")
    if span.line == span.end_line:
        return lines[span.line - 1][span.column - 1 : span.end_column - 1]
    first, last = lines[span.line - 1], lines[span.end_line - 1]
    between = lines[span.line : span.end_line - 1]
    return "\n".join([first[span.column - 1 :], *between, last[: span.end_column - 1]])
