"""GitHub Actions: diagnostics as annotations on the files, and the plan as a job summary."""

from collections.abc import Iterator

from deployctl.cli.render import CommandReport
from deployctl.cli.render.names import GITHUB_LEVELS, OPS
from deployctl.cli.render.values import lines
from deployctl.core.diagnostics import Diagnostic
from deployctl.core.redact import redact
from deployctl.deploy.model import ResultStatus


def annotations(report: CommandReport) -> Iterator[str]:
    """One workflow command per diagnostic and per failed change."""
    for item in report.diagnostics:
        yield _annotation(item)
    for result in report.results:
        if result.status is ResultStatus.FAILED and result.error:
            title, text = result.change.name, redact(result.error.message)
            yield f"::error title={_property(title)}::{_escape(text)}"


def summary(report: CommandReport) -> str:
    """Markdown for the summary page of the job."""
    if report.plan is None:
        return ""
    rows = ["| | object | field | was | will be |", "|---|---|---|---|---|"]
    for change in report.plan.needed:
        first = f"| {OPS[change.effective_op]} | {_cell(change.kind)} {_cell(change.name)} |"
        for name, old, new in lines(change):
            rows.append(f"{first} {_cell(name)} | {_cell(old)} | {_cell(new)} |")
            first = "| | |"
    if not report.plan.needed:
        rows = ["No changes."]
    return f"### deployctl {report.command}: {report.subject}\n\n" + "\n".join(rows) + "\n"


def _annotation(item: Diagnostic) -> str:
    properties = ""
    if item.span:
        span = item.span
        properties = f" file={_property(span.file)},line={span.line},endLine={span.end_line}"
        if span.line == span.end_line:
            properties += f",col={span.column},endColumn={span.end_column}"
        properties += f",title={item.code}"
    text = item.message + (f"\nhelp: {item.help}" if item.help else "")
    return f"::{GITHUB_LEVELS[item.severity]}{properties}::{_escape(redact(text))}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str | None) -> str:
    return redact(text or "").replace("|", "\\|").replace("\n", " ")
