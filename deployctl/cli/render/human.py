"""Text for a person at a terminal or reading a CI log."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping

from rich.text import Text

from deployctl.cli.render import Outcome
from deployctl.cli.render.values import lines
from deployctl.core.diagnostics import Diagnostic, Severity, Span
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, Plan, Result, ResultStatus

_STYLE = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold blue"}
_MARK = {
    Op.CREATE: ("+", "green"),
    Op.UPDATE: ("~", "yellow"),
    Op.DELETE: ("-", "red"),
    Op.NONE: ("=", "dim"),
}
_PAST = {Op.CREATE: "created", Op.UPDATE: "updated", Op.DELETE: "deleted", Op.NONE: "unchanged"}


def diagnostics(found: tuple[Diagnostic, ...], sources: Mapping[str, str]) -> Iterator[Text]:
    """Each diagnostic with the line of source that it is about, and a count at the end."""
    for diagnostic in found:
        yield _diagnostic(diagnostic, sources)
    counts = [
        f"{n} {severity.value}{'s' * (n != 1)}"
        for severity in (Severity.ERROR, Severity.WARNING)
        if (n := sum(item.severity is severity for item in found))
    ]
    if counts:
        yield Text(f"{' and '.join(counts)}", style="bold")


def plan(outcome: Outcome) -> Iterator[Text]:
    """What would be done, change by change, and the sum."""
    assert outcome.plan is not None
    if outcome.target:
        yield Text(f"Plan for {outcome.subject} on {outcome.target}", style="bold")
        yield Text()
    for change in outcome.plan.changes:
        if change.is_needed or change.notes:
            yield from _change(change)
    yield Text(_sum(outcome.plan), style="bold")


def results(outcome: Outcome) -> Iterator[Text]:
    """One line per root that was not told yet, and the sum."""
    for each in outcome.results:
        if each.status is not ResultStatus.UNCHANGED and each.identity not in outcome.shown:
            yield from result(each)
    yield Text(_result_sum(outcome), style="bold")


def _diagnostic(diagnostic: Diagnostic, sources: Mapping[str, str]) -> Text:
    style = _STYLE[diagnostic.severity]
    text = Text()
    text.append(f"{diagnostic.severity.value}[{diagnostic.code}]", style=style)
    text.append(f": {redact(diagnostic.message)}\n", style="bold")
    places = [(diagnostic.span, "")] if diagnostic.span else []
    width = max((len(str(s.line)) for s, _ in [*places, *diagnostic.related]), default=1)
    for span, label in [*places, *diagnostic.related]:
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
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _title(change: Change) -> str:
    return f"{change.kind.replace('_', ' ')} {change.name}"


def _change(change: Change) -> Iterator[Text]:
    mark, style = _MARK[change.effective_op]
    yield Text.assemble(("  " + mark, style), f" {_title(change)}")
    rows = list(lines(change))
    width = min(40, max((len(name) for name, _, _ in rows), default=0))
    for name, old, new in rows:
        text = Text(f"      {name:<{width}}  ")
        if old is not None:
            text.append(redact(old), style="red")
            text.append(" → ", style="dim")
        elif change.op is not Op.CREATE:
            text.append("none → ", style="dim")
        text.append(redact(new) if new is not None else "none", style="green")
        yield text
    for note in change.notes:
        yield Text(f"      note: {redact(note)}", style="dim")


def _sum(plan: Plan) -> str:
    if not plan.needed:
        return f"Nothing to do: {len(plan.changes)} unchanged."
    parts = [
        f"{plan.count(op)} to {op.value}"
        for op in (Op.CREATE, Op.UPDATE, Op.DELETE)
        if plan.count(op)
    ]
    return f"Plan: {', '.join(parts)}, {plan.count(Op.NONE)} unchanged."


def result(result: Result) -> Iterator[Text]:
    """What became of one root; of a failure also what was done before it."""
    change, title = result.change, _title(result.change)
    if result.status is ResultStatus.APPLIED:
        mark, style = _MARK[change.effective_op]
        yield Text.assemble(("  " + mark, style), f" {title} {_PAST[change.effective_op]}")
    elif result.status is ResultStatus.SKIPPED:
        yield Text.assemble(("  ? ", "yellow"), f"{title} not done: {result.reason}")
    else:
        assert result.error is not None
        yield Text.assemble(
            ("  ! ", "red"), (f"{title} failed: ", "bold"), redact(result.error.message)
        )
        if result.done:
            yield Text(f"      done before it failed: {', '.join(result.done)}")
        if result.error.help:
            yield Text(f"      help: {redact(result.error.help)}")


def _result_sum(outcome: Outcome) -> str:
    counts: dict[str, int] = {}
    for result in outcome.results:
        word = (
            _PAST[result.change.effective_op]
            if result.status in (ResultStatus.APPLIED, ResultStatus.UNCHANGED)
            else {ResultStatus.SKIPPED: "not done", ResultStatus.FAILED: "failed"}[result.status]
        )
        counts[word] = counts.get(word, 0) + 1
    words = ("created", "updated", "deleted", "unchanged", "failed", "not done")
    said = ", ".join(f"{counts[word]} {word}" for word in words if word in counts)
    if outcome.interrupted:
        return f"Stopped: {said}. The same command again does the rest."
    return f"Done: {said or 'nothing to do'}."
