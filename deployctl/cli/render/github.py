"""GitHub Actions: diagnostics as annotations on the files, and the plan as a job summary."""

import re
from collections.abc import Iterator
from dataclasses import replace

from deployctl.cli.render import CommandReport, human
from deployctl.cli.render.names import GITHUB_LEVELS, SEVERITIES
from deployctl.cli.render.plan import plan
from deployctl.core.diagnostics import Diagnostic
from deployctl.core.redact import redact
from deployctl.deploy.model import ResultStatus

_DIFF_MARKS = {"+ ": "+", "- ": "-", "~ ": "!"}
"""Marks of the plan → those of a diff."""


def annotations(report: CommandReport) -> Iterator[str]:
    """One workflow command per diagnostic and per failed change."""
    for item in report.diagnostics:
        yield _annotation(item)
    for result in report.results:
        if result.status is ResultStatus.FAILED and result.error:
            title, text = result.change.name, redact(result.error.message)
            yield f"::error title={_property(title)}::{_escape(text)}"


def summary(report: CommandReport) -> str:
    """Markdown for the summary page of the job: the diagnostics, then the plan."""
    parts = []
    if report.diagnostics:
        parts.append("\n".join(f"- {_item(each)}" for each in report.diagnostics))
    if report.plan is not None:
        lines = [_diff_line(line.plain) for line in plan(replace(report, target=""))]
        parts.append("\n".join(["```diff", *lines, "```"]))
    if report.results:
        parts.append("\n".join(["```", *(line.plain for line in human.results(report)), "```"]))
    if not parts:
        return ""
    title = report.command + (f": {report.subject}" if report.subject else "")
    return f"### deployctl {title}\n\n" + "\n\n".join(parts) + "\n"


def _item(item: Diagnostic) -> str:
    place = f" `{item.span}`" if item.span else ""
    text = item.message + (f". {item.help}" if item.help else "")
    return f"**{SEVERITIES[item.severity]}** {item.code}{place}: {_line(text)}"


def _diff_line(line: str) -> str:
    """A line of the plan with its mark first, where the diff colours of GitHub expect it."""
    bare = line.lstrip()
    if bare[:2] in _DIFF_MARKS:
        return _DIFF_MARKS[bare[:2]][0] + line[: -len(bare)] + bare[1:]
    return " " + line


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


def _line(text: str) -> str:
    """Text on one line, without meaning for Markdown."""
    return re.sub(r"([\\`*_<>\[\]|])", r"\\\1", " ".join(redact(text).split()))
