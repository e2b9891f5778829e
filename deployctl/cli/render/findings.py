"""Findings of a command in one form, for the formats that CI systems read."""

from __future__ import annotations

from collections.abc import Iterator

from deployctl.cli.render import CommandReport
from deployctl.core.diagnostics import Diagnostic, Severity
from deployctl.core.redact import redact
from deployctl.deploy.model import ResultStatus


def findings(report: CommandReport) -> Iterator[Diagnostic]:
    """The diagnostics, then one error per failed change; without secrets."""
    for item in report.diagnostics:
        yield _redacted(item)
    for result in report.results:
        if result.status is ResultStatus.FAILED and result.error:
            error = result.error
            message = f"{result.change.title}: {error.message}"
            yield _redacted(Diagnostic(error.code, Severity.ERROR, message, error.span, error.help))


def text(item: Diagnostic) -> str:
    """Message and help of a finding."""
    return f"{item.message}\nhelp: {item.help}" if item.help else item.message


def default_file(report: CommandReport) -> str:
    """The file that findings without a position belong to."""
    return next(iter(report.sources), "prefect.yaml")


def _redacted(item: Diagnostic) -> Diagnostic:
    help_ = redact(item.help) if item.help else None
    return Diagnostic(
        item.code, item.severity, redact(item.message), item.span, help_, item.related
    )
