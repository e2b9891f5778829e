"""From a pool's base job template and the variables of a run to its job configuration.

The template language is that of Prefect's worker, and its grammar that of prefect.yaml; here a
placeholder without a value is no mistake: where it stands alone, its key or list item disappears,
and within a text it is empty. There are three passes: variables and the worker's environment; then
blocks and variables of the server, which variables may name; then `{{ ctx.… }}`. Nothing that a
pass puts in is looked at again in the same pass, and what a run is called comes last, so that its
name cannot ask for a secret.

It differs from Prefect in this: null is no value, so that no null reaches a cluster; `{{ ctx.… }}`
works everywhere, not only in `name`; a block's own placeholders are not filled in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

from deployctl.core.json_values import Json
from deployctl.jobs.environment import merge_environments
from deployctl.jobs.model import InvalidJobSpec, JobSource
from deployctl.jobs.precedence import effective_variables
from deployctl.templating.grammar import Kind, Placeholder, placeholders
from deployctl.templating.references import Library, Reference, Unresolved
from deployctl.templating.render import Scope, render
from deployctl.templating.values import lookup


class _Fate(Enum):
    KEEP = "keep"
    """It is the business of another pass."""
    MISSING = "missing"


_Source: TypeAlias = Callable[[Placeholder], Json]
"""Gives the value of a placeholder, or its fate."""


def render_variables(subject: JobSource, environ: Mapping[str, str]) -> dict[str, Json]:
    """The job configuration with all variables filled in, and `env` merged; blocks, variables of
    the server and `{{ ctx.… }}` stand as they are.

    `environ`: the worker's, for `{{ $HOME }}`. Raises Undescribable for a pool or variables that
    have not the shape.
    """
    template = _mapping(subject.work_pool.get("base_job_template"), "base_job_template")
    configuration = _mapping(template.get("job_configuration"), "job_configuration")
    schema = _mapping(template.get("variables") or {}, "variables")
    variables = effective_variables(
        _mapping(schema.get("properties") or {}, "variables.properties"),
        job_variables_of(subject.deployment),
        job_variables_of(subject.flow_run),
    )

    def source(placeholder: Placeholder) -> Json:
        if placeholder.kind is Kind.ENV:
            return environ.get(placeholder.target, _Fate.MISSING)
        return _at(variables, placeholder.name) if placeholder.kind is Kind.STEP else _Fate.KEEP

    populated = _mapping(_filled(configuration, source), "job_configuration")
    return populated | {"env": merge_environments(populated.get("env"), variables.get("env"))}


def resolve_references(populated: Json, subject: JobSource, library: Library) -> Json:
    """The job configuration with nothing left to fill in.

    A variable that the server does not have is empty, as with Prefect. Raises Undescribable for a
    block that is missing, or does not hold what is asked of it.
    """

    def look_up(reference: Reference) -> Json:
        try:
            return library(reference)
        except Unresolved:
            if reference.kind is Kind.VARIABLE:
                return ""
            raise

    resolved, problems = render(populated, Scope(references=look_up))
    if problems:
        raise InvalidJobSpec(problems[0].message, help=problems[0].help)
    ctx = {"ctx": {"flow": subject.flow or {}, "flow_run": subject.flow_run}}
    return _filled(
        resolved,
        lambda item: _at(ctx, item.name) if item.kind is Kind.CTX else _Fate.KEEP,
    )


def job_variables_of(owner: Json) -> Mapping[str, Json]:
    """The job variables of a deployment (on Prefect 2 `infra_overrides`) or of a run."""
    owner = owner or {}
    return owner.get("job_variables") or owner.get("infra_overrides") or {}


def _mapping(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InvalidJobSpec(
            f"'{where}' of the work pool is no mapping",
            help="Correct the pool's base job template.",
        )
    return value


def _at(values: Mapping[str, Json], path: str) -> Json:
    try:
        found = lookup(values, path)
    except LookupError:
        return _Fate.MISSING
    return _Fate.MISSING if found is None else found


def _filled(value: Json, source: _Source) -> Json:
    """The value with its placeholders filled in; `_Fate.MISSING` if it was one without a value."""
    if isinstance(value, str):
        return _filled_text(value, source)
    if isinstance(value, list):
        items = [_filled(item, source) for item in value]
        return [item for item in items if item is not _Fate.MISSING]
    if isinstance(value, dict):
        pairs = {key: _filled(item, source) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not _Fate.MISSING}
    return value


def _filled_text(text: str, source: _Source) -> Json:
    found = placeholders(text)
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        value = source(found[0])
        return text if value is _Fate.KEEP else value
    pieces, end = [], 0
    for placeholder in found:
        value = source(placeholder)
        if value is _Fate.KEEP:
            value = text[placeholder.start : placeholder.end]
        pieces += [text[end : placeholder.start], "" if value is _Fate.MISSING else str(value)]
        end = placeholder.end
    return "".join(pieces) + text[end:]
