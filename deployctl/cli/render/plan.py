"""A plan as text: creates in a table, updates field by field, equal updates together.

Nothing is left out or cut unless the view has a width and isn't full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby

from rich.cells import cell_len
from rich.text import Text

from deployctl.cli.render import CommandReport
from deployctl.cli.render.creates import create_lines
from deployctl.cli.render.differences import Row, rows
from deployctl.cli.render.layout import MARKS, View, name_of, pad, plural, title, wrapped
from deployctl.cli.render.names import OPS
from deployctl.cli.render.schemas import ABSENT
from deployctl.cli.render.values import inline, yaml_lines
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, Plan, Resource

_LABEL_WIDTH = 40
"""Columns of labels; a longer one moves its value to the right."""
_EVERYTHING = View()


def plan(report: CommandReport, view: View = _EVERYTHING) -> Iterator[Text]:
    """The changes, what is no longer declared, and the number of changes per operation."""
    assert report.plan is not None
    if report.target:
        yield Text(f"Plan for {report.subject} on {report.target}", style="bold")
        yield Text()
    shown = [each for each in report.plan.changes if each.is_needed or each.notes]
    for _, group in groupby(shown, key=lambda change: change.kind):
        changes = list(group)
        creates = [each for each in changes if each.effective_op is Op.CREATE]
        yield from create_lines(creates, view)
        yield from _update_lines([each for each in changes if each not in creates], view)
    yield from undeclared_lines(report.plan.undeclared, view)
    yield Text(plan_total(report.plan), style="bold")


def undeclared_lines(resources: Sequence[Resource], view: View) -> Iterator[Text]:
    """The resources that stay although the project no longer declares them; equal ones together."""
    if resources:
        yield Text("  No longer declared, not deleted (DC524):")
    groups: dict[tuple[str, str], list[Resource]] = {}
    for each in resources:
        groups.setdefault((each.kind, _undeclared_text(each, 2)), []).append(each)
    for (kind, _), members in groups.items():
        text = _undeclared_text(members[0], len(members))
        if len(members) == 1:
            yield Text.assemble(("  = ", "dim"), f"{name_of(members[0])} {text}")
        else:
            yield Text.assemble(("  = ", "dim"), f"{plural(len(members), kind)} {text}:")
            names = wrapped((each.name for each in members), 6, view.columns)
            yield from (Text(line, style="dim") for line in names)


def _undeclared_text(resource: Resource, count: int) -> str:
    """What becomes of `count` resources like this one that are no longer declared."""
    stays, keeps = ("stays", "keeps its") if count == 1 else ("stay", "keep their")
    if resource.kind == "automation" and resource.fields.get("enabled") is not False:
        return f"{stays} on the server, enabled"
    schedules = [child for child in resource.children if child.kind == "schedule"]
    active = sum(child.fields.get("active") is not False for child in schedules)
    if not active or resource.fields.get("paused"):
        return f"{stays} on the server"
    several = active > 1 or count > 1
    return f"{stays} on the server and {keeps} {'schedules' if several else 'schedule'}"


def plan_total(plan: Plan) -> str:
    """`Plan: 1 to create, 2 to update (1 schedule to delete), 97 unchanged.`"""
    undeclared = f", {len(plan.undeclared)} no longer declared" if plan.undeclared else ""
    if not plan.needed:
        return f"No changes: {len(plan.changes)} unchanged{undeclared}."
    parts = [
        f"{plan.count(op)} to {OPS[op]}"
        for op in (Op.CREATE, Op.UPDATE, Op.DELETE)
        if plan.count(op)
    ]
    if deleted := plan.count_children(Op.DELETE):
        listed = ", ".join(plural(count, kind) for kind, count in deleted.items())
        parts[bool(plan.count(Op.CREATE))] += f" ({listed} to delete)"
    return f"Plan: {', '.join(parts)}, {plan.count(Op.NONE)} unchanged{undeclared}."


def _update_lines(changes: Sequence[Change], view: View) -> Iterator[Text]:
    """Updates and deletes; those of one kind that change the same stand together."""
    groups: dict[tuple[Op, str], tuple[list[Change], list[Text]]] = {}
    for change in changes:
        body = list(update_body(change, view))
        key = (change.effective_op, "\n".join(line.plain for line in body))
        groups.setdefault(key, ([], body))[0].append(change)
    for (op, _), (members, body) in groups.items():
        mark, style = MARKS[op]
        if len(members) == 1 or not body:
            for each in members:
                yield Text.assemble((f"  {mark}", style), f" {title(each.kind, each.name)}")
        else:
            count = plural(len(members), members[0].kind)
            yield Text.assemble((f"  {mark}", style), f" {count}, with the same change:")
            names = wrapped((each.name for each in members), 6, view.columns)
            yield from (Text(line, style="dim") for line in names)
        yield from body


def update_body(change: Change, view: View) -> Iterator[Text]:
    """The differences of one update or delete, and its notes."""
    if change.effective_op is not Op.CREATE:
        found = rows(change)
        width = max((cell_len(row.label) for row in found), default=0)
        for row in found:
            yield from _row(row, min(width, _LABEL_WIDTH), view)
    for note in change.notes:
        yield Text(f"      note: {redact(note)}", style="dim")


def _row(row: Row, width: int, view: View) -> Iterator[Text]:
    """One difference: on one line if it fits, else as lines of YAML below its label."""
    mark, style = MARKS[row.op]
    label = redact(row.label)
    start = Text.assemble((f"      {mark} ", style), pad(label, width), "  ")
    line = _one_line(row, start.copy())
    if line is not None and cell_len(line.plain) <= view.columns:
        yield line
    else:
        yield Text.assemble((f"      {mark} ", style), label)
        yield from view.lines(list(_block(row, view)))
    if row.reason:
        yield Text(f"          {redact(row.reason)}", style="dim")


def _one_line(row: Row, start: Text) -> Text | None:
    """The row on one line; None if a value takes several."""
    old, new = (inline(_shown(side)) for side in (row.old, row.new))
    if old is None or new is None:
        return None
    if row.op is Op.UPDATE:
        return start.append(old, "red").append(" → ", "dim").append(new, "green")
    return start.append(new, "green") if row.op is Op.CREATE else start.append(old, "red")


def _block(row: Row, view: View) -> Iterator[Text]:
    """The lines of the old and new value, those that are equal once."""
    width = view.width - 12 if view.width else None
    old, new = (
        [] if side is ABSENT else yaml_lines(_shown(side), width) for side in (row.old, row.new)
    )
    for op, i1, i2, j1, j2 in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            yield from (Text(f"            {line}") for line in old[i1:i2])
        else:
            yield from (Text(f"          - {line}", style="red") for line in old[i1:i2])
            yield from (Text(f"          + {line}", style="green") for line in new[j1:j2])


def _shown(side: Json) -> Json:
    """A side of a row as it is shown: null is `none`."""
    return "none" if side is None or side is ABSENT else side
