"""Generates docs/prefect-yaml.md, the reference of all keys, from the tables of keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from deployctl.core.json_values import Json
from deployctl.project import keys
from deployctl.project.schema import since
from deployctl.project.shapes import (
    ABSENT,
    Anything,
    Choice,
    Duration,
    Either,
    Flag,
    Key,
    ListOf,
    MapOf,
    Mapping_,
    Number,
    Shape,
    Steps,
    Table,
    Text,
)

_INTRODUCTION = """\
# Keys of prefect.yaml

Every key that deployctl reads: those of Prefect, and at the top `environments` and the resources
that deployctl manages, such as `work_pools` and `variables` ([resources.md](resources.md)). A value
may be a template, such as `{{ $NAME }}`, wherever it is not a mapping or a list. `deployctl schema`
prints the same as a JSON Schema for editors, and `deployctl explain DC120` says what happens to
other keys. Anchors stand below `definitions` or keys that begin with `x-`.

Where nothing is said about null, it is the same as leaving the key out. *Prefect rejects null* is
said of keys for which only `prefect deploy` refuses it.

Written by `python -m deployctl.project.reference > docs/prefect-yaml.md`.
"""
_TITLES = {
    "file": "The file",
    "deployment": "A deployment",
    "schedule": "A schedule",
    "concurrency limit": "A concurrency limit",
    "work_pool": "The work pool of a deployment",
    "service level": "A service level",
    "work pool": "A work pool that the file declares",
    "work queue": "A work queue that the file declares",
    "variable": "A variable that the file declares",
    "declared concurrency limit": "A concurrency limit that the file declares",
    "block": "A block that the file declares",
    "flow": "A flow that the file declares",
    "environment": "An environment",
    "metric": "The query of a metric trigger",
}
"""Table → heading, in the order of the page; triggers come last."""


def reference() -> str:
    """Returns the contents of docs/prefect-yaml.md."""
    tables = {table.name: table for table in _tables(keys.TOP_LEVEL, {})}
    order = [*_TITLES, *(name for name in tables if name not in _TITLES)]
    sections = [line for name in order for line in _section(tables[name])]
    return "\n".join([_INTRODUCTION, *sections])


def _tables(shape: Shape, seen: dict[str, Table]) -> list[Table]:
    """Returns the tables that a shape consists of, each once, in the order of their first use."""
    match shape:
        case Table() if shape.name not in seen:
            seen[shape.name] = shape
            for key in shape.keys.values():
                _tables(key.shape, seen)
        case ListOf() | MapOf():
            _tables(shape.item, seen)
        case Either():
            for part in (shape.plain, shape.mapping, shape.many):
                if part is not None:
                    _tables(part, seen)
        case Choice():
            for table in shape.tables().values():
                _tables(table, seen)
    return list(seen.values())


def _title(table: Table) -> str:
    kind = table.name.removeprefix("inner ")
    if table.name in _TITLES:
        return _TITLES[table.name]
    article = "An" if kind[0] in "aeiou" else "A"
    return f"{article} {kind}" + (" within another trigger" if kind != table.name else "")


def _link(table: Table) -> str:
    return f"[{table.name}](#{_title(table).lower().replace(' ', '-')})"


def _section(table: Table) -> Iterator[str]:
    """Yields the lines about a table."""
    yield f"## {_title(table)}"
    yield ""
    if table.text_is:
        yield f"Text alone stands for a mapping with `{table.text_is}`."
        yield ""
    if table.strict:
        yield "Any other key is an error."
        yield ""
    yield "| key | value | meaning |"
    yield "|---|---|---|"
    for name, key in table.keys.items():
        yield f"| `{name}` | {_cell(_value(key.shape))} | {_cell(_meaning(key))} |"
    yield ""
    if table.moved:
        yield "| instead of | |"
        yield "|---|---|"
        for name, moved in table.moved.items():
            yield f"| `{name}` | {_cell(moved.advice)} |"
        yield ""


def _meaning(key: Key) -> str:
    text = f"**Required.** {key.doc}" if key.required else key.doc
    if key.field is not None and key.default is ABSENT and "Default" not in key.doc:
        text += _default(key.field.default)
    elif key.default is not ABSENT:
        text += _default(key.default)
    if key.null_refused:
        text += " Prefect rejects null."
    elif key.null is not ABSENT and key.null is not None:
        text += f" Null is `{_json(key.null)}`."
    return text + since(key)


def _default(value: Json) -> str:
    """` Default: …` for a default that says something."""
    return "" if value in (None, "", [], {}) else f" Default: `{_json(value)}`."


def _json(value: Json) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case None:
            return "null"
        case "":
            return '""'
    return str(value)


def _value(shape: Shape) -> str:
    """Describes the values of a shape."""
    match shape:
        case Text():
            return ", ".join(f"`{each}`" for each in shape.choices) or "text"
        case Flag():
            return "`true`, `false`"
        case Number():
            return _number(shape)
        case Duration():
            return "duration" + (f", at least {shape.minimum:g} s" if shape.minimum else "")
        case Mapping_():
            return "mapping"
        case Anything():
            return "any"
        case Steps():
            return "list of steps, or one step"
        case ListOf():
            listed = f"list: {_value(shape.item)}"
            if shape.named:
                return f"{listed}; or a mapping from names"
            return f"{listed}; or one text" if shape.single else listed
        case MapOf():
            keys_of = "some keys of a " if shape.partial else ""
            return f"mapping from names: {keys_of}{_link(shape.item)}"
        case Either():
            parts = (shape.plain, shape.mapping, shape.many)
            return ", or ".join(_value(part) for part in parts if part is not None)
        case Choice():
            return " or ".join(_link(table) for table in shape.tables().values())
        case Table():
            return _link(shape)
    assert_never(shape)


def _number(shape: Number) -> str:
    kind = "whole number" if shape.whole else "number"
    if shape.maximum < float("inf"):
        return f"{kind}, {shape.minimum:g} to {shape.maximum:g}"
    return f"{kind}, at least {shape.minimum:g}" if shape.minimum > float("-inf") else kind


def _cell(text: str) -> str:
    return text.replace("|", "\\|").strip()


if __name__ == "__main__":
    print(reference(), end="")
