"""The resources that a file declares at its top, beside its deployments.

Work pools have a module of their own, `project.work_pools`; what is here is the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json, JsonPath, leaves
from deployctl.project.blocks import block_secrets, block_values
from deployctl.project.document import Document, with_listed_items
from deployctl.project.resource_keys import RESOURCE_LISTS
from deployctl.project.shapes import ListOf, Table
from deployctl.project.variables import check_variable
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.references import Source

_REFERENCES = (PlaceholderKind.BLOCK, PlaceholderKind.VARIABLE)


@dataclass(frozen=True, slots=True)
class DeclaredResource:
    """One item of a top-level list other than `work_pools`, with valid keys."""

    kind: str
    """As in `deploy.model.Resource`."""
    key: tuple[str, ...]
    entry: Mapping[str, Json] = field(repr=False)
    """Its keys in Prefect's types, with environment variables filled in."""
    path: JsonPath
    """Its path in the document."""


def own_lists(document: Document) -> tuple[Document, list[Problem]]:
    """The document with deployctl's top-level keys as lists, without those of another form (DC131).

    They have deployctl's form if one of their items, of a list or of a mapping from names, has a
    key of their table.
    """
    problems = []
    for name, key in RESOURCE_LISTS.items():
        value, table = document.data.get(name), _table(name)
        items = value.values() if isinstance(value, dict) else value
        is_listed = isinstance(value, dict | list)
        required = [key for key, each in table.keys.items() if each.required]
        # Of flows, a name alone says nothing.
        marks = table.keys.keys() - (required if required == ["name"] else [])
        is_ours = is_listed and any(
            isinstance(each, dict) and marks & each.keys() for each in items
        )
        if not is_ours and value not in (None, [], {}):
            data = {key: value for key, value in document.data.items() if key != name}
            document = replace(document, data=data)
            message = f"'{name}' does not have deployctl's form and is ignored"
            needed = " and ".join(f"'{key}'" for key in [*required, *sorted(marks)][:2])
            help_ = (
                f"deployctl's own is a list of {table.name}s with {needed}, or a mapping from "
                "their names. If it holds anchors, rename it to 'x-…'."
            )
            problems.append(Problem((name,), "DC131", message, help_))
        elif isinstance(value, dict):
            document = with_listed_items(document, name)
    return document, problems


def _table(name: str) -> Table:
    """The table of the items of a top-level list."""
    shape = RESOURCE_LISTS[name].shape
    assert isinstance(shape, ListOf)
    assert isinstance(shape.item, Table)
    return shape.item


def unsupported_placeholders(lists: Mapping[str, Json]) -> Iterator[Problem]:
    """Placeholders in top-level lists other than those of environment variables (DC133).

    What may hold any text is left alone, but for references to variables and blocks in values.
    """
    for path, leaf in leaves({name: lists.get(name) for name in RESOURCE_LISTS}):
        if _is_literal(path):
            continue
        for each in placeholders(leaf if isinstance(leaf, str) else ""):
            if each.kind in _REFERENCES or (
                each.kind is not PlaceholderKind.ENV and path[2:3] not in (("value",), ("values",))
            ):
                help_ = "Write the value, or {{ $NAME }} for an environment variable."
                yield Problem(path, "DC133", f"'{each}' cannot be resolved here", help_)


def _is_literal(path: JsonPath) -> bool:
    """Whether placeholders in the value at a path are left alone: those of pools' templates."""
    return path[0] == "work_pools" and (path[-1] == "description" or "base_job_template" in path)


def parse_declared(
    document: Document, lists: Mapping[str, Json], folder: Path, report: Report
) -> tuple[DeclaredResource, ...]:
    """The resources of all lists but `work_pools`; problems are reported.

    Paths of files are relative to `folder`. Items without what is required are left out: `coerce`
    has reported them.
    """
    found: dict[tuple[str, tuple[str, ...]], DeclaredResource] = {}
    limits = _limits(lists.get("concurrency_limits") or (), "concurrency_limits" in document.listed)
    flows = _flows(lists.get("flows") or ())
    blocks = _blocks(lists.get("blocks") or (), document, folder, report)
    for each in (*_variables(lists.get("variables") or ()), *limits, *blocks, *flows):
        problems = [problem.below(each.path) for problem in _check(each)]
        if (each.kind, each.key) in found:
            kind = each.kind.replace("_", " ")
            message = f"the {kind} '{'/'.join(each.key)}' is given twice"
            problems.append(Problem(each.path, "DC129", message, "Remove one of them."))
        document.report_problems(problems, report)
        found.setdefault((each.kind, each.key), each)
    return tuple(found.values())


def check_same_resources(
    files: Iterable[tuple[Document, Sequence[DeclaredResource]]], report: Report
) -> None:
    """Reports what several files declare (DC129): each deploy would have the one of the last."""
    first: dict[tuple[str, tuple[str, ...]], str] = {}
    for document, declared in files:
        for each in declared:
            file = first.setdefault((each.kind, each.key), document.file)
            if file != document.file:
                kind = each.kind.replace("_", " ")
                message = f"the {kind} '{'/'.join(each.key)}' is also declared in {file}"
                problem = Problem(each.path, "DC129", message, "Remove one of them.")
                document.report_problems([problem], report)


def _variables(entries: Sequence[Json]) -> Iterator[DeclaredResource]:
    """The variables; values that are secret by the name of their variable are registered."""
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("name") and "value" in entry:
            name = str(entry["name"])
            redact.register_secrets(redact.find_secrets({name: entry["value"]}))
            yield DeclaredResource("variable", (name,), entry, ("variables", index))


def _limits(entries: Sequence[Json], named: bool) -> Iterator[DeclaredResource]:
    """The concurrency limits; the name of one with a tag is only a label if they are `named`."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or "limit" not in entry:
            continue
        by_tag = bool(entry.get("tag"))
        own = {k: v for k, v in entry.items() if k != "name"} if named and by_tag else entry
        kind = "tag_concurrency_limit" if by_tag else "global_concurrency_limit"
        key = str(entry["tag"] if by_tag else entry.get("name") or "")
        yield DeclaredResource(kind, (key,), own, ("concurrency_limits", index))


def _blocks(
    entries: Sequence[Json], document: Document, folder: Path, report: Report
) -> Iterator[DeclaredResource]:
    """The blocks with the values of their files; what is secret by its name is registered."""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not entry.get("name") or not entry.get("type"):
            continue
        path: JsonPath = ("blocks", index)
        values, problems = block_values(entry, folder)
        document.report_problems((each.below(path) for each in problems), report)
        key = (str(entry["type"]), str(entry["name"]))
        redact.register_secrets(block_secrets(key[0], values), stored=True)
        yield DeclaredResource("block", key, {**entry, "values": values}, path)


def _flows(entries: Sequence[Json]) -> Iterator[DeclaredResource]:
    """The flows with tags or labels; others say nothing."""
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("name") and entry.keys() & {"tags", "labels"}:
            yield DeclaredResource("flow", (str(entry["name"]),), entry, ("flows", index))


def _check(declared: DeclaredResource) -> Iterator[Problem]:
    """What is wrong with a resource by itself, with paths in its entry."""
    if declared.kind == "variable":
        yield from check_variable(declared.entry)
    elif declared.kind.endswith("limit"):
        yield from _check_limit(declared.entry)


def _check_limit(entry: Mapping[str, Json]) -> Iterator[Problem]:
    """What makes a limit neither a global one nor one of a tag (DC241)."""
    name, tag = entry.get("name"), entry.get("tag")
    if bool(name) == bool(tag):
        message = "this concurrency limit needs either a 'name' or a 'tag'"
        help_ = "'name' makes a global one, which code asks for; 'tag' limits tasks with this tag."
        yield Problem((), "DC241", message, help_)
    elif name and str(name).startswith("tag:"):
        message = f"'{name}' is how the server names the limit of a tag"
        yield Problem(("name",), "DC241", message, f"Write 'tag: {str(name)[4:]}' instead.")
    for key in ("active", "slot_decay_per_second"):
        if tag and key in entry:
            message = f"'{key}' has no effect on the limit of a tag"
            yield Problem((key,), "DC241", message, "Remove it, or declare a global limit.")


def declared_sources(
    declared: Sequence[DeclaredResource], *, secrets: bool = False
) -> dict[Source, Json]:
    """The declared variables as the server will return them, by reference.

    With `secrets`, the blocks as well, whose schemas are not known here.
    """
    found: dict[Source, Json] = {}
    for each in declared:
        if each.kind == "variable":
            found[PlaceholderKind.VARIABLE, each.key] = {"value": each.entry["value"]}
        elif each.kind == "block" and secrets:
            found[PlaceholderKind.BLOCK, each.key] = {"data": each.entry["values"]}
    return found
