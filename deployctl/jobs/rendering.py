"""Renders a pool's base job template with the job variables of a run.

The template language is that of Prefect's worker, and its grammar that of prefect.yaml. Here a
placeholder without a value is not an error: if it stands alone, its key or list item is removed;
within a text it is empty. There are three passes: job variables and the worker's environment; then
the server's blocks and variables, which job variables may refer to; then `{{ ctx.… }}`. A pass does
not rescan what it inserted, and the run's name is inserted last, so that it cannot refer to a
secret.

Differences from Prefect: null is no value, so that no null reaches a cluster; `{{ ctx.… }}` works
everywhere, not only in `name`; placeholders inside a block are not rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

from deployctl.core.json_values import Json
from deployctl.jobs.environment import merge_environments
from deployctl.jobs.model import InvalidJobSpec, JobSource
from deployctl.jobs.precedence import effective_variables
from deployctl.templating.grammar import Placeholder, PlaceholderKind, placeholders
from deployctl.templating.references import Reference, ReferenceValues, Unresolved
from deployctl.templating.render import Scope, render
from deployctl.templating.values import lookup


class _Marker(Enum):
    """What a lookup returns instead of a value."""

    KEEP = "keep"
    """The placeholder belongs to another pass and stays."""
    MISSING = "missing"
    """The placeholder has no value."""


_Lookup: TypeAlias = Callable[[Placeholder], Json]
"""Returns the value of a placeholder, or a `_Marker`."""


def render_variables(source: JobSource, environ: Mapping[str, str]) -> dict[str, Json]:
    """The job configuration with job variables inserted and `env` merged (the first pass).

    References to blocks and variables of the server and `{{ ctx.… }}` are left as they are.
    `environ` is the worker's environment, for `{{ $HOME }}`. Raises InvalidJobSpec for a pool or
    variables of the wrong shape.
    """
    template = _mapping(source.work_pool.get("base_job_template"), "base_job_template")
    configuration = _mapping(template.get("job_configuration"), "job_configuration")
    schema = _mapping(template.get("variables") or {}, "variables")
    variables = effective_variables(
        _mapping(schema.get("properties") or {}, "variables.properties"),
        job_variables_of(source.deployment),
        job_variables_of(source.flow_run),
    )

    def look_up(placeholder: Placeholder) -> Json:
        """Resolves placeholders of environment and job variables."""
        if placeholder.kind is PlaceholderKind.ENV:
            return environ.get(placeholder.target, _Marker.MISSING)
        if placeholder.kind is PlaceholderKind.STEP:
            return _value_at(variables, placeholder.name)
        return _Marker.KEEP

    rendered = _mapping(_fill(configuration, look_up), "job_configuration")
    return rendered | {"env": merge_environments(rendered.get("env"), variables.get("env"))}


def resolve_references(rendered: Json, source: JobSource, library: ReferenceValues) -> Json:
    """The job configuration without any placeholders (the second and third pass).

    A variable that the server does not have is empty, as in Prefect. Raises InvalidJobSpec for a
    block that is missing or has no value at the given path.
    """

    def fetch(reference: Reference) -> Json:
        """Resolves a reference; a variable that does not exist is empty."""
        try:
            return library(reference)
        except Unresolved:
            if reference.kind is PlaceholderKind.VARIABLE:
                return ""
            raise

    resolved, problems = render(rendered, Scope(references=fetch))
    if problems:
        raise InvalidJobSpec(problems[0].message, help=problems[0].help)
    context = {"ctx": {"flow": source.flow or {}, "flow_run": source.flow_run}}
    return _fill(
        resolved,
        lambda item: (
            _value_at(context, item.name) if item.kind is PlaceholderKind.CTX else _Marker.KEEP
        ),
    )


def job_variables_of(owner: Json) -> Mapping[str, Json]:
    """The job variables of a deployment (`infra_overrides` in Prefect 2) or of a run."""
    owner = owner or {}
    return owner.get("job_variables") or owner.get("infra_overrides") or {}


def _mapping(value: Json, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise InvalidJobSpec(
            f"'{where}' of the work pool is not a mapping",
            help="Correct the pool's base job template.",
        )
    return value


def _value_at(values: Mapping[str, Json], path: str) -> Json:
    try:
        value = lookup(values, path)
    except LookupError:
        return _Marker.MISSING
    return _Marker.MISSING if value is None else value


def _fill(value: Json, look_up: _Lookup) -> Json:
    """A copy of `value` with placeholders filled in; MISSING if it was one without a value."""
    if isinstance(value, str):
        return _fill_text(value, look_up)
    if isinstance(value, list):
        items = [_fill(item, look_up) for item in value]
        return [item for item in items if item is not _Marker.MISSING]
    if isinstance(value, dict):
        pairs = {key: _fill(item, look_up) for key, item in value.items()}
        return {key: item for key, item in pairs.items() if item is not _Marker.MISSING}
    return value


def _fill_text(text: str, look_up: _Lookup) -> Json:
    found = placeholders(text)
    if len(found) == 1 and (found[0].start, found[0].end) == (0, len(text)):
        value = look_up(found[0])
        return text if value is _Marker.KEEP else value
    pieces, end = [], 0
    for placeholder in found:
        value = look_up(placeholder)
        if value is _Marker.KEEP:
            value = text[placeholder.start : placeholder.end]
        pieces += [text[end : placeholder.start], "" if value is _Marker.MISSING else str(value)]
        end = placeholder.end
    return "".join(pieces) + text[end:]
