"""Parses a document into a project: environment variables filled in, every entry checked.

Problems outside of `deployments:` are reported at once. Those of an entry stay with it until it is
known whether it is selected (`report_entries`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.fix import Remove
from deployctl.core.json_values import Json, JsonPath
from deployctl.project import keys
from deployctl.project.coerce import coerce, is_unresolved
from deployctl.project.declared import (
    declared_sources,
    own_lists,
    parse_declared,
    unsupported_placeholders,
)
from deployctl.project.document import Document
from deployctl.project.identity import check_identity, render_identity
from deployctl.project.model import DeploymentSpec, Project, normalize_entrypoint
from deployctl.project.normalize import api_fields
from deployctl.project.resource_keys import RESOURCE_LISTS
from deployctl.project.work_pools import parse_work_pools
from deployctl.templating.deployment import check_placeholders, deployment_rule
from deployctl.templating.problems import Problem
from deployctl.templating.references import ReferenceValues
from deployctl.templating.render import Scope, render

_RENDERED = ("name", *RESOURCE_LISTS)
"""Top-level keys that environment variables are filled into here; steps are rendered as they run.
"""

_ACTIONS = ("build", "push", "pull")


def parse_project(
    document: Document,
    report: Report,
    environ: Mapping[str, str],
    references: ReferenceValues | None = None,
    *,
    offline: bool = False,
) -> Project:
    """Parses a whole document; values with errors are left out of the project.

    `references` are the values of `identity.identifying_references`; None without a server, which
    is an error for names that need one unless the command is `offline`.
    """
    document, foreign = own_lists(document)
    unread = (Severity.NOTE if offline else Severity.ERROR) if references is None else None
    top_level = {name: value for name, value in document.data.items() if name in _RENDERED}
    rendered, problems = render(top_level, Scope(environ=environ))
    named, unknown = render_identity(rendered, Scope(references=references))
    if "name" in named:
        rendered["name"] = named["name"]
    problems += [*unknown, *check_identity({"name": named.get("name")}, unread)]
    top, wrong = coerce({**document.data, **rendered}, keys.AROUND_DEPLOYMENTS, document.source)
    top = top or {}
    problems += wrong
    problems += unsupported_placeholders(top)
    problems += [*_reserved_keys(document.data), *foreign]
    problems += check_placeholders({k: v for k, v in document.data.items() if k in _ACTIONS})
    if offline:
        # `plan` and `build` find them when they predict the outputs of the steps.
        steps = {kind: document.data.get(kind) for kind in ("build", "push")}
        _, unset = render(steps, Scope(environ=environ))
        problems = _unset_as_warnings([*problems, *unset])
    document.report_problems(problems, report)
    actions = {kind: top[kind] for kind in _ACTIONS if kind in top}
    folder = Path(document.file).absolute().parent
    declared = parse_declared(document, top, folder, report)
    if references is not None:
        references = references.with_sources(declared_sources(declared))
    deployments = [
        _deployment(document, index, actions, environ, references, unread)
        for index in _entries(document, report)
    ]
    return Project(
        document,
        top.get("name") or folder.name,
        tuple(deployments),
        actions,
        tuple(parse_work_pools(document, top.get("work_pools") or (), folder, report)),
        declared,
        references,
    )


def report_entries(specs: Sequence[DeploymentSpec], report: Report) -> list[DeploymentSpec]:
    """Reports the problems of these entries, and which of them are one deployment by entrypoint.

    Returns the latter.
    """
    for spec in specs:
        spec.report_problems(spec.problems, report)
    by_entrypoint = ((spec, normalize_entrypoint(spec.entrypoint)) for spec in specs)
    return check_same_names((each for each in by_entrypoint if each[1]), report)


def same_entrypoint(one: DeploymentSpec, other: DeploymentSpec) -> bool:
    """Whether two entries of one file name the same function."""
    return normalize_entrypoint(one.entrypoint) == normalize_entrypoint(other.entrypoint)


def check_same_names(
    specs: Iterable[tuple[DeploymentSpec, str]],
    report: Report,
    is_reported: Callable[[DeploymentSpec, DeploymentSpec], bool] = lambda *_: False,
) -> list[DeploymentSpec]:
    """Reports entries that are one deployment on the server (DC129), and returns them.

    Each entry comes with the name of its flow; before the code is inspected, with its entrypoint.
    `is_reported` says of two entries whether an earlier check has compared them.
    """
    groups: dict[tuple[str, str], list[DeploymentSpec]] = defaultdict(list)
    for spec, flow in specs:
        if spec.name and not is_unresolved(spec.name):
            groups[(flow, spec.name)].append(spec)
    repeated = []
    for (_, name), (first, *others) in groups.items():
        for other in others:
            if is_reported(first, other):
                continue
            repeated += [first, other]
            span = first.span(("name",))
            report.add(
                "DC129",
                f"the deployment '{name}' of this flow is given twice",
                other.span(("name",)),
                help="Rename one of them; on the server they are the same deployment.",
                related=[(span, "first given here")] if span else (),
                fix=Remove(other.path) if other.path and other.raw == first.raw else None,
            )
    return repeated


def _entries(document: Document, report: Report) -> Iterator[int]:
    """Yields the indexes of the deployments; reports those without any value, and skips them.

    `prefect init` writes such an entry for users to fill in, and `prefect deploy` skips it, too.
    """
    entries = document.data.get("deployments")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict) and entry and _is_blank(entry):
            message = "this deployment has no values and is skipped"
            help_ = "Fill it in, or remove it."
            document.report_problems(
                [Problem(("deployments", index), "DC134", message, help_)], report
            )
        elif entry is not None:
            yield index


def _is_blank(value: Json) -> bool:
    """Whether a value, or each value in it, is null or empty."""
    if isinstance(value, dict):
        return all(map(_is_blank, value.values()))
    return value is None or value in ("", [])


def _deployment(
    document: Document,
    index: int,
    actions: Mapping[str, Json],
    environ: Mapping[str, str],
    references: ReferenceValues | None,
    unread: Severity | None,
) -> DeploymentSpec:
    """Parses one entry. The environment is filled in first, so that its values are checked too."""
    path: JsonPath = ("deployments", index)
    written = document.data["deployments"][index]
    rendered, problems = render(written, Scope(environ=environ), deployment_rule())
    own = rendered if isinstance(rendered, dict) else {}
    has_steps = any({**actions, **own}.get(kind) for kind in ("build", "push"))
    outputs: dict[str, Json] | None = None if has_steps else {}
    scope = Scope(environ if outputs is not None else None, outputs, references)
    rendered, unknown = render_identity(rendered, scope)
    problems += [each for each in unknown if each.code != "DC302"]  # it was found just before
    redact.register_secrets(redact.find_secrets(rendered))
    raw, wrong = coerce(rendered, keys.DEPLOYMENT, lambda below: document.source((*path, *below)))
    raw = raw or {}
    fields, invalid = api_fields(raw)
    problems += wrong
    problems += check_placeholders(written)
    problems += invalid
    problems += check_identity(raw, unread)
    if unread is Severity.NOTE:
        problems = _unset_as_warnings(problems)
    return DeploymentSpec(
        path,
        raw.get("name", ""),
        raw.get("entrypoint", ""),
        raw,
        document,
        fields,
        tuple(problems),
    )


def _unset_as_warnings(problems: Iterable[Problem]) -> list[Problem]:
    """Makes unset variables (DC302) warnings: an offline check needs no environment of a deploy."""
    return [
        replace(each, severity_override=Severity.WARNING) if each.code == "DC302" else each
        for each in problems
    ]


def _reserved_keys(data: Mapping[str, Json]) -> Iterator[Problem]:
    for name in keys.LATER:
        if name in data:
            message = f"'{name}' is not supported yet and is ignored"
            help_ = "The key is reserved for deployctl. If it holds anchors, rename it to 'x-…'."
            yield Problem((name,), "DC131", message, help_)
