"""Seed files: variables and blocks that `deployctl dev` creates on its server.

    variables:
      region: eu-west-1
      limits: {value: {rows: 10}, tags: [dev]}
    blocks:
      api-token: {type: secret, values: {value: "{{ $API_TOKEN }}"}}

Both may be lists of items with a `name` instead. Environment variables are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Span
from deployctl.core.json_values import Json, JsonPath, leaves
from deployctl.project import keys, resource_keys
from deployctl.project.blocks import block_secrets
from deployctl.project.coerce import coerce
from deployctl.project.document import Document, read_document
from deployctl.project.resource_keys import VARIABLE
from deployctl.project.shapes import Anything, Either, Key, ListOf, Mapping_, Table
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.render import Scope, render

BLOCK = replace(
    resource_keys.BLOCK,
    keys={
        **{name: key for name, key in resource_keys.BLOCK.keys.items() if name != "files"},
        "values": replace(resource_keys.BLOCK.keys["values"], required=True),
    },
)
_NAMED = Either(mapping=Mapping_(), many=ListOf(Anything()))
_SEEDS = Table(
    "seed file",
    {
        "variables": Key(_NAMED, "Variables by name, or a list.", null={}),
        "blocks": Key(_NAMED, "Blocks by name, or a list.", null={}),
    },
    free=True,
)
_BEGIN = "Begin with 'variables:' or 'blocks:'."
_HELP = {"DC108": _BEGIN, "DC109": _BEGIN}


@dataclass(frozen=True, slots=True)
class VariableSeed:
    """A variable to create."""

    name: str
    value: Json
    tags: list[str] | None
    """None: the file does not say."""
    span: Span | None


@dataclass(frozen=True, slots=True)
class BlockSeed:
    """A block to create."""

    type: str
    """The slug of its type."""
    name: str
    values: Mapping[str, Json]
    """By field."""
    document: Document
    path: JsonPath
    """Its path in the document."""

    @property
    def span(self) -> Span | None:
        """Where the file declares it."""
        return self.document.spans.value(self.path)


@dataclass(frozen=True, slots=True)
class Seeds:
    """The variables and blocks of a file, in its order."""

    variables: tuple[VariableSeed, ...]
    blocks: tuple[BlockSeed, ...]


def read_seeds(path: Path, environ: Mapping[str, str], report: Report) -> tuple[Seeds | None, str]:
    """The seeds of a file, None if it cannot be read, and its text as excerpts may show it.

    What is wrong is reported. Other keys of prefect.yaml are ignored. What is secret by its name is
    registered, so that nothing prints it; the text has no values of blocks at all.
    """
    found = Report()
    document = read_document(path, found, option="--seed")
    seeds = _parse(document, environ, found) if document else None
    # `validate --fix` does not read this file.
    report.extend(replace(each, fix=None, help=_HELP.get(each.code, each.help)) for each in found)
    # The document lacks the first of two equal keys.
    is_complete = all(each.code != "DC105" for each in found)
    return seeds, _without_block_values(document) if document and is_complete else ""


def _without_block_values(document: Document) -> str:
    """The text with an asterisk for each character of a block's values, but for templates."""
    blocks = document.root.parts.get("blocks")
    text = document.text
    for path, node in blocks.walk() if blocks else ():
        source = text[node.start.index : node.end.index]
        is_scalar = isinstance(node.value, str | int | float)
        is_shown = len(path) == 2 and path[1] in ("name", "type")
        if is_scalar and not is_shown and "{{" not in source:
            hidden = re.sub(r"\S", "*", source)
            text = text[: node.start.index] + hidden + text[node.end.index :]
    return text


def _parse(document: Document, environ: Mapping[str, str], report: Report) -> Seeds:
    own = {
        name: value
        for name, value in document.data.items()
        if name in _SEEDS.keys or name not in keys.TOP_LEVEL.keys
    }
    rendered, problems = render(own, Scope(environ=environ))
    data, wrong = coerce(rendered, _SEEDS)
    document.report_problems([*problems, *wrong], report)
    variables, blocks = [], []
    for path, fields in _items(document, data or {}, "variables", VARIABLE, report):
        span, tags = document.spans.value(path), fields.get("tags")
        variables.append(VariableSeed(fields["name"], fields["value"], tags, span))
    for path, fields in _items(document, data or {}, "blocks", BLOCK, report):
        block = BlockSeed(fields["type"], fields["name"], fields["values"], document, path)
        blocks.append(block)
    redact.register_secrets(_secrets(variables, blocks))
    return Seeds(tuple(variables), tuple(blocks))


def _items(
    document: Document, data: Mapping[str, Json], key: str, table: Table, report: Report
) -> Iterator[tuple[JsonPath, Mapping[str, Json]]]:
    """The valid items below a key, each with its path; what is wrong with others is reported."""
    seen: set[tuple[Json, Json]] = set()
    for part, item in _pairs(data.get(key), table):
        path = (key, part)
        fields, problems = coerce(item, table)
        fields = fields if isinstance(fields, dict) else {}
        problems += _unresolved(fields, table)
        identity = fields.get("type"), fields.get("name")
        if fields.get("name") and identity in seen:
            message = f"another {table.name} has the name '{fields.get('name')}'"
            problems.append(Problem(("name",), "DC129", message, "Rename one of them."))
        seen.add(identity)
        document.report_problems((each.below(path) for each in problems), report)
        if all(name in fields for name, each in table.keys.items() if each.required):
            yield path, fields


def _pairs(listed: Json, table: Table) -> Iterator[tuple[str | int, Json]]:
    """The items of a list, or of a mapping from names, each with its index or key."""
    if isinstance(listed, list):
        yield from enumerate(listed)
        return
    for name, item in (listed or {}).items():
        if isinstance(item, dict) and not (table is VARIABLE and _is_value(item)):
            yield name, {"name": name, **item}
        else:
            yield name, {"name": name, "value": item} if table is VARIABLE else item


def _is_value(item: Mapping[str, Json]) -> bool:
    """Whether a mapping is the value of a variable, not its fields."""
    return not {"value"} <= item.keys() <= {"value", "tags"}


def _unresolved(fields: Mapping[str, Json], table: Table) -> Iterator[Problem]:
    """References to variables and blocks, but for blocks that are a whole value of a block."""
    for path, leaf in leaves(fields):
        for each in placeholders(leaf if isinstance(leaf, str) else ""):
            is_reference = each.kind in (PlaceholderKind.BLOCK, PlaceholderKind.VARIABLE)
            if is_reference and (table is not BLOCK or block_reference(leaf) is None):
                help_ = "Write the value, or {{ $NAME }} for an environment variable."
                yield Problem(path, "DC133", f"'{each}' cannot be resolved here", help_)


def block_reference(value: Json) -> tuple[str, str] | None:
    """Type and name of the block that a value is a reference to, and nothing else; or None."""
    found = placeholders(value) if isinstance(value, str) else []
    if len(found) != 1 or found[0].kind is not PlaceholderKind.BLOCK:
        return None
    parts = found[0].target.split(".")
    whole = (found[0].start, found[0].end) == (0, len(value))
    return (parts[0], parts[1]) if whole and len(parts) == 2 else None


def _secrets(variables: list[VariableSeed], blocks: list[BlockSeed]) -> Iterator[str]:
    """What is secret by its name. The secret fields of other blocks are known to the server."""
    yield from redact.find_secrets({each.name: each.value for each in variables})
    for block in blocks:
        yield from block_secrets(block.type, block.values)
