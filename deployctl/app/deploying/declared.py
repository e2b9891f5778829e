"""The desired resources that a file declares at its top, other than work pools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployctl.api.blocks import read_block_schema, read_block_types
from deployctl.api.calls import gather
from deployctl.api.dialect import Dialect
from deployctl.api.driver import run
from deployctl.api.session import Session
from deployctl.app.deploying.load import LoadedProject, SelectedDeployment
from deployctl.core import redact
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.deploy import desired
from deployctl.deploy.model import Resource
from deployctl.deploy.resources.blocks import desired_block, values_of
from deployctl.project.blocks import check_block_values
from deployctl.project.declared import DeclaredResource
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.problems import Problem
from deployctl.templating.references import Source, references, secret_values


def desired_resources(loaded: LoadedProject, dialect: Dialect, report: Report) -> list[Resource]:
    """The declared resources; what this server doesn't take is reported.

    If only some of the file's deployments are selected, those that these refer to.
    """
    found = []
    for each in _selected(loaded):
        if each.kind == "variable":
            problems = [problem.below(each.path) for problem in _variable_problems(each, dialect)]
            loaded.document.report_problems(problems, report)
            found.append(desired.variable(each.entry, dialect))
        elif each.kind == "block":
            found.append(desired_block(each.key, each.entry["values"]))
        else:
            resource = desired.declared(each.kind, each.key, each.entry)
            resource, left_out = desired.fit_to_server(resource, dialect)
            problems = [_left_out(name, dialect).below(each.path) for name in left_out]
            loaded.document.report_problems(problems, report)
            found.append(resource)
    return found


def _selected(loaded: LoadedProject) -> Iterator[DeclaredResource]:
    """The declared resources that the command is about."""
    if loaded.selects_all or not loaded.declared:
        return iter(loaded.declared)
    used = {
        (str(reference.kind), reference.source)
        for selected in loaded.selected
        for _, reference in references([_written(selected), selected.entry])
    }
    used |= {("flow", (selected.facts.name,)) for selected in loaded.selected}
    return (each for each in loaded.declared if (each.kind, each.key) in used)


def _written(selected: SelectedDeployment) -> Json:
    """The entry as the file has it, with the references that its names were made from."""
    entry: Json = selected.spec.document.data
    for part in selected.spec.path:
        entry = entry[part]
    return entry if selected.spec.path else None


def _left_out(name: str, dialect: Dialect) -> Problem:
    """A field that this server doesn't have (DC512)."""
    message = f"{dialect} does not know '{name}', which is left out"
    return Problem((name,), "DC512", message, "Remove it from the file, or upgrade the server.")


def _variable_problems(declared: DeclaredResource, dialect: Dialect) -> Iterator[Problem]:
    """What Prefect 2 rejects in a variable (DC540), or stores otherwise (DC541)."""
    (name,) = declared.key
    if dialect.major < 3 and "-" in name:
        message = f"{dialect} rejects the name '{name}' of this variable, because of the '-'"
        yield Problem(("name",), "DC540", message, "Use _ instead, or upgrade the server.")
    if dialect.major < 3 and not isinstance(declared.entry["value"], str):
        message = f"{dialect} stores the value of the variable '{name}' as text"
        yield Problem(("value",), "DC541", message, "Write it as a text, or upgrade the server.")


def sources(
    declared: Sequence[Resource],
    current: Sequence[Resource],
    loaded: LoadedProject,
    session: Session,
    report: Report,
) -> dict[Source, Json]:
    """The declared variables and blocks as the server will return them, by reference.

    Blocks that are equal on the server are left out. The others are checked against their types:
    an unknown one is reported (DC542), and so are wrong and missing fields (DC120, DC127). Raises
    ApiError.
    """
    found: dict[Source, Json] = {
        (PlaceholderKind.VARIABLE, each.key): {"value": each.fields["value"]}
        for each in declared
        if each.kind == "variable"
    }
    stored = {each.key: each.fields for each in current if each.kind == "block"}
    blocks = [
        each for each in declared if each.kind == "block" and stored.get(each.key) != each.fields
    ]
    slugs = sorted({each.key[0] for each in blocks})
    schemas = run(gather({slug: read_block_schema(slug) for slug in slugs}), session)
    known = run(read_block_types(), session) if None in schemas.values() else []
    paths = {each.key: each.path for each in loaded.declared if each.kind == "block"}
    for block in blocks:
        problems = _block_problems(block, schemas[block.key[0]], known)
        below = (each.below(paths[block.key]) for each in problems)
        loaded.document.report_problems(below, report)
        if schema := schemas[block.key[0]]:
            document = {"data": values_of(block), "block_schema": schema}
            redact.register_secrets(secret_values([document]), stored=True)
            found[PlaceholderKind.BLOCK, block.key] = document
    return found


def _block_problems(block: Resource, schema: Json, known: Sequence[str]) -> list[Problem]:
    """What is wrong with a block, with paths in its entry; `known` are all types of the server."""
    type_slug, name = block.key
    if schema is None:
        message = f"the server has no block type '{type_slug}', which the block '{name}' has"
        help_ = did_you_mean(type_slug, known) or (
            f"It has {quoted(known)}. Those of a module: `prefect block register -m MODULE`."
        )
        return [Problem(("type",), "DC542", message, help_)]
    problems = check_block_values(type_slug, values_of(block), schema["fields"])
    return [each.below(("values",)) for each in problems]
