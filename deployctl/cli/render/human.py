"""Text for a terminal or a CI log."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from rich.text import Text

from deployctl.cli.render import CommandReport
from deployctl.cli.render.layout import MARKS, plural, title, wrapped
from deployctl.cli.render.names import SEVERITIES
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.redact import redact
from deployctl.deploy.model import Op, Plan, Result, ResultStatus

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold blue"}
_PAST = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted", Op.NONE: "unchanged"}


_NAMES_WIDTH = 100
_SHOWN_AT_ONCE = (ResultStatus.APPLIED, ResultStatus.FAILED)


def diagnostics(items: tuple[Diagnostic, ...], sources: Mapping[str, str]) -> Iterator[Text]:
    """Each diagnostic with its source line, and at the end how many there are and can be fixed."""
    for diagnostic in items:
        yield _diagnostic(diagnostic, sources)
    counts = [
        f"{n} {SEVERITIES[severity]}{'s' * (n != 1)}"
        for severity in (Severity.ERROR, Severity.WARNING)
        if (n := sum(item.severity is severity for item in items))
    ]
    if counts:
        yield Text(f"{' and '.join(counts)}", style="bold")
    if fixable := sum(item.fix is not None for item in items):
        yield Text(f"`deployctl validate --fix` corrects {fixable} of them; --diff shows how.")


def results(report: CommandReport) -> Iterator[Text]:
    """The results that were not shown yet, and the number of results by kind."""
    for each in report.results:
        if each.status in _SHOWN_AT_ONCE and each.identity not in report.shown:
            yield from result(each)
    yield from _skipped(report)
    yield Text(_result_total(report), style="bold")


def _skipped(report: CommandReport) -> Iterator[Text]:
    """One line per reason; many names are listed only with `--full`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in report.results:
        if each.status is ResultStatus.SKIPPED:
            groups.setdefault((each.change.kind, each.reason), []).append(each.change.name)
    for (kind, reason), names in groups.items():
        what = title(kind, names[0]) if len(names) == 1 else plural(len(names), kind)
        yield Text.assemble(("  ? ", "yellow"), f"{what} skipped: {reason}")
        if len(names) > 1:
            listed = wrapped(names, 6, _NAMES_WIDTH) if report.full else ["      --full lists them"]
            yield from (Text(line, style="dim") for line in listed)


def _diagnostic(diagnostic: Diagnostic, sources: Mapping[str, str]) -> Text:
    style = _STYLE[diagnostic.severity]
    text = Text()
    text.append(f"{SEVERITIES[diagnostic.severity]}[{diagnostic.code}]", style=style)
    text.append(f": {redact(diagnostic.message)}\n", style="bold")
    spans = [(diagnostic.span, "")] if diagnostic.span else []
    width = max((len(str(s.line)) for s, _ in [*spans, *diagnostic.related]), default=1)
    for span, label in [*spans, *diagnostic.related]:
        text.append(_source(span, label, sources, width, style))
    if diagnostic.help:
        text.append(f"{' ' * width} = ", style="blue")
        text.append("help: ", style="bold")
        text.append(f"{redact(diagnostic.help)}\n")
    return text


def _source(span: Span, label: str, sources: Mapping[str, str], width: int, style: str) -> Text:
    text = Text()
    text.append(f"{' ' * width}--> ", style="blue")
    text.append(f"{span}\n")
    source = sources.get(span.file, "").splitlines()
    if 0 < span.line <= len(source):
        line = source[span.line - 1].replace("\t", " ").rstrip()
        last = span.end_column - 1 if span.end_line == span.line else len(line)
        before = _cells(line[: span.column - 1])
        carets = max(1, _cells(line[span.column - 1 : last]))
        text.append(f"{' ' * width} |\n{span.line:>{width}} | ", style="blue")
        text.append(f"{redact(line)}\n")
        text.append(f"{' ' * width} | ", style="blue")
        text.append(" " * before + "^" * carets, style=style)
        text.append(f" {label}\n" if label else "\n", style=style)
    elif label:
        text.append(f"{' ' * width} = {label}\n", style="blue")
    return text


def _cells(text: str) -> int:
    """Columns of a terminal that the text takes: two for a wide character."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def result(result: Result) -> Iterator[Text]:
    """The result of a change that was tried; for a failure, also what was written before it."""
    change = result.change
    name = title(change.kind, change.name)
    if result.status is ResultStatus.APPLIED:
        mark, style = MARKS[change.effective_op]
        yield Text.assemble(("  " + mark, style), f" {name} {_PAST[change.effective_op]}")
        for part in change.fields:
            if part.reason:
                yield Text(f"      note: {part.field}: {part.reason}", style="dim")
    else:
        assert result.error is not None
        yield Text.assemble(
            ("  ! ", "red"), (f"{name} failed: ", "bold"), redact(result.error.message)
        )
        if result.done:
            yield Text(f"      done before the failure: {', '.join(result.done)}")
        if result.error.help:
            yield Text(f"      help: {redact(result.error.help)}")


_TOTALS = ("created", "updated", "deleted", "unchanged", "failed", "skipped")


def _result_total(report: CommandReport) -> str:
    counts = dict.fromkeys(_TOTALS, 0)
    for each in report.results:
        if each.status in (ResultStatus.FAILED, ResultStatus.SKIPPED):
            counts["failed" if each.status is ResultStatus.FAILED else "skipped"] += 1
        else:
            counts[_PAST[each.change.effective_op]] += 1
    applied = (each.change for each in report.results if each.status is ResultStatus.APPLIED)
    deleted = Plan(tuple(applied)).count_children(Op.DELETE)
    children = ", ".join(plural(count, kind) for kind, count in deleted.items())
    total = ", ".join(
        f"{count} {word}" + (f" ({children} deleted)" if children and word == "updated" else "")
        for word, count in counts.items()
        if count
    )
    if report.interrupted:
        return f"Stopped: {total}. Run the same command again to apply the rest."
    return f"Done: {total or 'no changes'}."
