"""Prints the report of a command in the format of `--output`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.cli.console import write
from deployctl.cli.options import OutputFormat

if TYPE_CHECKING:
    from deployctl.cli.render import CommandReport
    from deployctl.core.diagnostics import Diagnostic, Span

_WORKSPACES = ("GITHUB_WORKSPACE", "CI_PROJECT_DIR", "BUILD_SOURCESDIRECTORY", "WORKSPACE")
"""The variables in which GitHub, GitLab, Azure DevOps and Jenkins name the checkout's folder."""


def print_report(format_: OutputFormat, report: CommandReport) -> None:
    """Prints everything that was not printed while the command ran."""
    if format_ not in (OutputFormat.HUMAN, OutputFormat.JSON):
        report = in_workspace(report, os.environ)
    _PRINT[format_](report)


def in_workspace(report: CommandReport, environ: Mapping[str, str]) -> CommandReport:
    """The report with all files relative to the checkout, as CI systems expect them.

    Outside a CI system, they become relative to the working directory; files elsewhere keep their
    paths.
    """
    root = Path(next((p for name in _WORKSPACES if (p := environ.get(name))), ".")).resolve()

    def relative(file: str) -> str:
        """The path of a file below the checkout."""
        path = Path(file).resolve()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else file

    def moved(span: Span) -> Span:
        """The span in the renamed file."""
        return replace(span, file=relative(span.file))

    def with_moved(item: Diagnostic) -> Diagnostic:
        """The diagnostic with its spans in the renamed files."""
        related = tuple((moved(span), text) for span, text in item.related)
        return replace(item, span=moved(item.span) if item.span else None, related=related)

    sources = {relative(file): text for file, text in report.sources.items()}
    diagnostics = tuple(map(with_moved, report.diagnostics))
    return replace(report, diagnostics=diagnostics, sources=sources)


def _print_human(report: CommandReport) -> None:
    from deployctl.cli.render import human

    write(human.diagnostics(report.diagnostics, report.sources), stderr=True)
    if report.results:
        write(human.results(report))


def _print_json(report: CommandReport) -> None:
    from deployctl.cli.render import json

    write([json.render(report)])


def _print_github(report: CommandReport) -> None:
    from deployctl.cli.render import github, human
    from deployctl.cli.render.plan import plan

    if report.plan is not None:
        write(plan(report))
    if report.results:
        write(human.results(report))
    write(github.annotations(report))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(github.summary(report))
        except OSError as error:
            write([f"cannot write the job summary: {error.strerror}"], stderr=True)


def _print_sarif(report: CommandReport) -> None:
    from deployctl.cli.render import sarif

    _print_document(report, sarif.render)


def _print_junit(report: CommandReport) -> None:
    from deployctl.cli.render import junit

    _print_document(report, junit.render)


def _print_gitlab(report: CommandReport) -> None:
    from deployctl.cli.render import gitlab

    _print_document(report, gitlab.render)


def _print_html(report: CommandReport) -> None:
    from deployctl.cli.render import html

    _print_document(report, html.render)


def _print_document(report: CommandReport, render: Callable[[CommandReport], str]) -> None:
    """Prints the document to stdout, and the diagnostics as text to stderr for the job's log."""
    from deployctl.cli.render import human

    write([render(report)])
    write(human.diagnostics(report.diagnostics, report.sources), stderr=True)


_PRINT: Mapping[OutputFormat, Callable[[CommandReport], None]] = {
    OutputFormat.HUMAN: _print_human,
    OutputFormat.JSON: _print_json,
    OutputFormat.GITHUB: _print_github,
    OutputFormat.SARIF: _print_sarif,
    OutputFormat.JUNIT: _print_junit,
    OutputFormat.GITLAB: _print_gitlab,
    OutputFormat.HTML: _print_html,
}
