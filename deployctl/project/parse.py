"""From a document to a project: every entry read, filled from the environment, and checked.

All problems are told at once, each at the place where it is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.json_values import Json, JsonPath
from deployctl.project import keys
from deployctl.project.coerce import coerce, is_unresolved
from deployctl.project.document import Document
from deployctl.project.model import DeploymentSpec, Project, normalize_entrypoint
from deployctl.project.normalize import fields
from deployctl.project.steps import check_outputs
from deployctl.project.work_pools import parse_work_pools, unsupported_placeholders
from deployctl.templating.deployment import check_placeholders, deployment_rule
from deployctl.templating.problems import Problem
from deployctl.templating.render import Scope, render

_RENDERED = ("name", "work_pools")
"""What is filled in from the environment around deployments; steps are when they are run."""


def parse_project(document: Document, report: Report, environ: Mapping[str, str]) -> Project:
    """Reads all of a document; what is wrong is in `report`, and is left out of the project."""
    around = {name: value for name, value in document.data.items() if name in _RENDERED}
    rendered, problems = render(around, Scope(environ=environ))
    top, wrong = coerce({**document.data, **rendered}, keys.AROUND_DEPLOYMENTS, document.source)
    top = top or {}
    document.report_problems(
        [
            *problems,
            *wrong,
            *unsupported_placeholders(top.get("work_pools")),
            *_reserved(document.data),
        ],
        report,
    )
    actions = {kind: top[kind] for kind in ("build", "push", "pull") if kind in top}
    entries = document.data.get("deployments")
    deployments = [
        _deployment(document, index, actions, report, environ)
        for index, entry in enumerate(entries if isinstance(entries, list) else ())
        if entry is not None
    ]
    folder = Path(document.file).absolute().parent
    project = Project(
        document,
        top.get("name") or folder.name,
        tuple(spec for spec in deployments if spec.name and spec.entrypoint),
        actions,
        tuple(parse_work_pools(document, top.get("work_pools") or (), folder, report)),
    )
    by_entrypoint = ((spec, normalize_entrypoint(spec.entrypoint)) for spec in project.deployments)
    check_same_names(by_entrypoint, report)
    return project


def check_same_names(specs: Iterable[tuple[DeploymentSpec, str]], report: Report) -> None:
    """Tells of deployments that are one and the same on the server (DC129).

    Each comes with what stands for its flow: the entrypoint as long as nobody has looked into the
    code, then the flow's name.
    """
    groups: dict[tuple[str, str], list[DeploymentSpec]] = defaultdict(list)
    for spec, flow in specs:
        if not is_unresolved(spec.name):
            groups[(flow, spec.name)].append(spec)
    for (_, name), (first, *others) in groups.items():
        for other in others:
            place = first.span(("name",))
            report.error(
                "DC129",
                f"the deployment '{name}' of this flow is given twice",
                other.span(("name",)),
                help="name one of them differently; on the server they are the same deployment",
                related=[(place, "first given here")] if place else (),
            )


def _deployment(
    document: Document,
    index: int,
    actions: Mapping[str, Json],
    report: Report,
    environ: Mapping[str, str],
) -> DeploymentSpec:
    """One entry. The environment comes first, so that what it gives is checked like the rest."""
    here: JsonPath = ("deployments", index)
    written = document.data["deployments"][index]
    rendered, problems = render(written, Scope(environ=environ), deployment_rule())
    redact.register_secrets(redact.find_secrets(rendered))
    raw, wrong = coerce(rendered, keys.DEPLOYMENT, lambda path: document.source((*here, *path)))
    raw = raw or {}
    problems += wrong
    problems += check_placeholders(written)
    problems += check_outputs(raw, actions, environ)
    problems += fields(raw)[1]
    spec = DeploymentSpec(here, raw.get("name", ""), raw.get("entrypoint", ""), raw, document)
    spec.report_problems(problems, report)
    return spec


def _reserved(data: Mapping[str, Json]) -> Iterator[Problem]:
    for name in keys.LATER:
        if name in data:
            message = f"'{name}' is not supported yet, and is ignored"
            help_ = "it is kept free for deployctl; rename it to 'x-…' if it is an anchor of yours"
            yield Problem((name,), "DC131", message, help_, Severity.WARNING)
