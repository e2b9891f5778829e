"""Loads small projects for the tests of this folder, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from deployctl.app.deploying.load import LoadedProject, LoadOptions, load_project
from deployctl.core.diagnostics import Report, Severity
from deployctl.project.selection import Selection
from tests.support.project import write_project

ALL = LoadOptions(Selection(everything=True))


def load(
    folder: Path,
    text: str,
    options: LoadOptions = ALL,
    environ: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> tuple[LoadedProject | None, Report]:
    """The project of this prefect.yaml beside `flows.py:hello`, and what is reported."""
    write_project(folder, dedent(text), files)
    report = Report()
    return load_project(folder / "prefect.yaml", options, report, environ or {}), report


def findings(report: Report, severity: Severity | None = None) -> list[tuple[str, int]]:
    """Code and line of each diagnostic that is shown; line 0 without a span."""
    return [
        (item.code, item.span.line if item.span else 0)
        for item in report.distinct()
        if severity in (None, item.severity)
    ]
