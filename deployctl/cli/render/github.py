"""GitHub Actions: diagnostics as annotations on the changed files, the plan as a job summary."""

from collections.abc import Iterator

from deployctl.cli.render import Outcome
from deployctl.cli.render.values import lines
from deployctl.core.diagnostics import Diagnostic, Severity
from deployctl.core.redact import redact
from deployctl.deploy.model import ResultStatus

_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def annotations(outcome: Outcome) -> Iterator[str]:
    """A workflow command per diagnostic and per failure."""
    for item in outcome.diagnostics:
        yield _annotation(item)
    for result in outcome.results:
        if result.status is ResultStatus.FAILED and result.error:
            title, text = result.change.name, redact(result.error.message)
            yield f"::error title={_property(title)}::{_escape(text)}"


def summary(outcome: Outcome) -> str:
    """Markdown for the job's summary page."""
    if outcome.plan is None:
        return ""
    rows = ["| | object | field | was | will be |", "|---|---|---|---|---|"]
    for change in outcome.plan.needed:
        first = f"| {change.effective_op.value} | {_cell(change.kind)} {_cell(change.name)} |"
        for name, old, new in lines(change):
            rows.append(f"{first} {_cell(name)} | {_cell(old)} | {_cell(new)} |")
            first = "| | |"
    if not outcome.plan.needed:
        rows = ["Nothing to do."]
    return f"### deployctl {outcome.command}: {outcome.subject}\n\n" + "\n".join(rows) + "\n"


def _annotation(item: Diagnostic) -> str:
    place = ""
    if item.span:
        span = item.span
        place = f" file={_property(span.file)},line={span.line},endLine={span.end_line}"
        if span.line == span.end_line:
            place += f",col={span.column},endColumn={span.end_column}"
        place += f",title={item.code}"
    text = item.message + (f"\nhelp: {item.help}" if item.help else "")
    return f"::{_LEVEL[item.severity]}{place}::{_escape(redact(text))}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str | None) -> str:
    return redact(text or "").replace("|", "\\|").replace("\n", " ")
