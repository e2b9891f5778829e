"""The report of a command as one HTML page, which needs no other file and no script.

Its plan shows every resource by itself: a line, which opens to its fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import pairwise

from rich.text import Text

from deployctl.cli.render import CommandReport, human
from deployctl.cli.render.creates import create_lines
from deployctl.cli.render.layout import MARKS, View, title
from deployctl.cli.render.names import OPS
from deployctl.cli.render.plan import plan_total, undeclared_lines, update_body
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, Plan

_VIEW = View()

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --create: #1a7f37; --update: #9a6700;
  --delete: #cf222e; --note: #0969da; }
@media (prefers-color-scheme: dark) { :root { --create: #3fb950; --update: #d29922;
  --delete: #f85149; --note: #58a6ff; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
pre, summary { font: 13px/1.5 ui-monospace, monospace; }
pre { margin: 0; overflow-x: auto; padding: .5rem 1rem; }
details, .box { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; }
summary, .row { cursor: pointer; overflow-wrap: anywhere; padding: .4rem 1rem; }
.row { cursor: default; font: 13px/1.5 ui-monospace, monospace; }
.green, .create { color: var(--create); } .yellow, .update { color: var(--update); }
.red, .delete { color: var(--delete); } .blue { color: var(--note); }
.dim { opacity: .65; } .bold { font-weight: 600; }
"""


def render(report: CommandReport) -> str:
    """The page: diagnostics, the plan, and the results, as far as the command has them."""
    heading = f"deployctl {report.command}" + f": {report.subject}" * bool(report.subject)
    parts = [f"<h1>{escape(redact(heading))}</h1>"]
    if report.target:
        parts.append(f"<p>on {escape(redact(report.target))}</p>")
    if report.diagnostics:
        found = human.diagnostics(report.diagnostics, report.sources)
        parts.append(f"<h2>Diagnostics</h2>\n{_box(found)}")
    if report.plan is not None:
        parts += _plan(report.plan)
    if report.results:
        parts.append(f"<h2>Results</h2>\n{_box(human.results(report))}")
    body = "\n".join(parts)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(redact(heading))}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>"""


def _plan(plan: Plan) -> Iterator[str]:
    yield f"<h2>Plan</h2>\n<p>{escape(plan_total(plan))}</p>"
    for change in plan.changes:
        if change.is_needed or change.notes:
            yield _resource(change)
    if plan.undeclared:
        yield _box(undeclared_lines(plan.undeclared, _VIEW))


def _resource(change: Change) -> str:
    """One resource; what changes something that exists is open."""
    op = change.effective_op
    if op is Op.CREATE:
        lines = list(create_lines([change], _VIEW))[1:]
    else:
        lines = list(update_body(change, _VIEW))
    mark = f'<span class="{OPS[op]}">{escape(MARKS[op][0])}</span>'
    heading = f"{mark} {escape(redact(title(change.kind, change.name)))}"
    if not lines:
        return f'<div class="box row">{heading}</div>'
    open_ = " open" * (op is not Op.CREATE)
    return f"<details{open_}><summary>{heading}</summary>\n{_pre(lines)}</details>"


def _box(lines: Iterable[Text]) -> str:
    return f'<div class="box">{_pre(lines)}</div>'


def _pre(lines: Iterable[Text]) -> str:
    shown = "\n".join(map(_line, lines))
    return f"<pre>{shown}</pre>"


def _line(text: Text) -> str:
    """A line with a `span` for each part that has a style; the styles are names of classes."""
    spans = [(0, len(text), str(text.style)), *((s.start, s.end, str(s.style)) for s in text.spans)]
    ends = sorted({0, len(text), *(each for start, end, _ in spans for each in (start, end))})
    found = ""
    for start, end in pairwise(ends):
        styles = [style for first, last, style in spans if style and first <= start and end <= last]
        part = escape(text.plain[start:end])
        found += f'<span class="{" ".join(styles)}">{part}</span>' if styles else part
    return found
