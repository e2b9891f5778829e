"""Creates of a plan: a few with their fields; many in one line each, with shared fields once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text

from deployctl.cli.render.differences import inline_text, tree
from deployctl.cli.render.layout import MARKS, View, pad, plural, title
from deployctl.cli.render.values import inline, yaml_lines
from deployctl.core.json_values import Json, JsonPath, canonical_json
from deployctl.core.redact import redact
from deployctl.deploy.model import Change, Op, kind_name

_MANY = 4
"""Creates of one kind from which on each has one line."""
_COLUMNS = ("work_pool_name", "schedules")
"""What stands in the line of a create first."""
_NONE = "none"

_Leaves = dict[JsonPath, Json]


def create_lines(changes: Sequence[Change], view: View) -> Iterator[Text]:
    """The creates of one kind."""
    if len(changes) >= _MANY:
        yield from _table(changes, view)
        return
    for change in changes:
        yield _heading(title(change.kind, change.name))
        yield from _yaml(tree(change), view, 6)
        yield from _notes(change)


def _table(changes: Sequence[Change], view: View) -> Iterator[Text]:
    """The fields that most have, then one line for each with its own."""
    leaves = [_leaves(tree(change)) for change in changes]
    shared = _shared(leaves)
    yield _heading(plural(len(changes), changes[0].kind))
    if shared:
        exact = all(each.get(path) == value for each in leaves for path, value in shared.items())
        unless = "" if exact else ", unless its line says otherwise"
        yield Text(f"      each {kind_name(changes[0].kind)}{unless}:", style="dim")
        yield from _yaml(_nested(shared), view, 8)
    own = [_own(each, shared) for each in leaves]
    columns = [name for name in _COLUMNS if any((name,) in each for each in own)]
    cells = [
        [change.name, *(_cell(each, column) for column in columns)]
        for change, each in zip(changes, own, strict=True)
    ]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    frequency = Counter(path for each in own for path in each)
    for change, row, each in zip(changes, cells, own, strict=True):
        rest = {path: value for path, value in each.items() if path[0] not in columns}
        ordered = dict(sorted(rest.items(), key=lambda item: -frequency[item[0]]))
        yield from _entry(row, widths, ordered, view)
        yield from _notes(change)


def _heading(text: str) -> Text:
    mark, style = MARKS[Op.CREATE]
    return Text.assemble((f"  {mark}", style), f" {text}")


def _entry(
    cells: Sequence[str], widths: Sequence[int], rest: Mapping[JsonPath, Json], view: View
) -> Iterator[Text]:
    """The line of one create, with the fields that it has of its own behind or below it."""
    row = "  ".join(pad(cell, width) for cell, width in zip(cells, widths, strict=True))
    line = Text.assemble(("    + ", "green"), row)
    values = ", ".join(f"{_key(path, view)}: {inline_text(value)}" for path, value in rest.items())
    fits = cell_len(line.plain) + 2 + cell_len(values) <= max(view.columns, 120 * (not view.width))
    if values and (fits or view.cuts):
        line.append(f"  {redact(values)}", style="dim")
    line.rstrip()
    yield view.line(line)
    if rest and not (fits or view.cuts):
        yield from _yaml(_nested(rest), view, 10)


def _key(path: JsonPath, view: View) -> str:
    """A path in the line of a create; where space is scarce, only its last part."""
    return str(path[-1]) if view.cuts else ".".join(map(str, path))


def _notes(change: Change) -> Iterator[Text]:
    for note in change.notes:
        yield Text(f"      note: {redact(note)}", style="dim")


def _yaml(value: Json, view: View, indent: int) -> Iterator[Text]:
    for key, item in value.items():
        width = view.columns - indent
        lines = [Text(" " * indent + line) for line in yaml_lines({key: item}, width)]
        yield from view.lines(lines)


def _leaves(value: Mapping[str, Json], path: JsonPath = ()) -> _Leaves:
    """The values below the mappings of a value; a list is one value."""
    found: _Leaves = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            found |= _leaves(item, (*path, key))
        else:
            found[(*path, key)] = item
    return found


def _nested(leaves: Mapping[JsonPath, Json]) -> dict[str, Json]:
    """The mappings that have these values."""
    found: dict[str, Json] = {}
    for path, value in leaves.items():
        place = found
        for key in path[:-1]:
            place = place.setdefault(str(key), {})
        place[str(path[-1])] = value
    return found


def _shared(leaves: Sequence[_Leaves]) -> _Leaves:
    """The values that more than half have; those with a column only if all have them."""
    shared: _Leaves = {}
    for path in dict.fromkeys(path for each in leaves for path in each):
        texts = Counter(_canonical(each[path]) for each in leaves if path in each)
        text, count = texts.most_common(1)[0]
        needed = len(leaves) if path[0] in _COLUMNS else len(leaves) // 2 + 1
        if count >= needed:
            shared[path] = next(
                each[path] for each in leaves if path in each and _canonical(each[path]) == text
            )
    return shared


def _own(leaves: _Leaves, shared: _Leaves) -> _Leaves:
    """The values that differ from the shared ones, and `none` for those that are missing."""
    own = {
        path: value
        for path, value in leaves.items()
        if path not in shared or _canonical(shared[path]) != _canonical(value)
    }
    return own | {path: _NONE for path in shared if path not in leaves}


def _cell(leaves: _Leaves, column: str) -> str:
    value = leaves.get((column,), "-")
    if isinstance(value, list):
        return redact("; ".join(map(str, value)))
    return redact(inline(value) or str(value))


def _canonical(value: Json) -> str:
    """A text that is equal for equal values, unknown ones included."""
    try:
        return canonical_json(value)
    except TypeError:
        return repr(value)
