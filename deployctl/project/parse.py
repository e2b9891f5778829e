"""From a document to a project: every entry read, filled from the environment, and checked.

All problems are told at once, each at the place where it is written.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath

from deployctl.core import redact
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.values import Json, Path, leaves
from deployctl.project import keys
from deployctl.project.checks import is_open, read
from deployctl.project.document import Document
from deployctl.project.model import DeploymentSpec, Project, normal_entrypoint
from deployctl.project.normal import fields
from deployctl.project.shapes import ABSENT
from deployctl.project.steps import check_outputs
from deployctl.templating.deployment import malformed_placeholders, rule_for
from deployctl.templating.grammar import Kind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.render import Scope, render

_RENDERED = ("name", "work_pools")
"""What is filled in from the environment around deployments; steps are when they are run."""


def load(document: Document, report: Report, environ: Mapping[str, str]) -> Project:
    """Reads all of a document; what is wrong is in `report`, and is left out of the project."""
    around = {name: value for name, value in document.data.items() if name in _RENDERED}
    rendered, problems = render(around, Scope(environ=environ))
    top, wrong = read({**document.data, **rendered}, keys.AROUND_DEPLOYMENTS, document.source)
    top = top or {}
    open_ = _unfilled(top.get("work_pools"))
    document.tell([*problems, *wrong, *open_, *_reserved(document.data)], report)
    actions = {kind: top[kind] for kind in ("build", "push", "pull") if kind in top}
    entries = document.data.get("deployments")
    deployments = [
        _deployment(document, index, actions, report, environ)
        for index, entry in enumerate(entries if isinstance(entries, list) else ())
        if entry is not None
    ]
    folder = FilePath(document.file).absolute().parent
    project = Project(
        document,
        top.get("name") or folder.name,
        tuple(spec for spec in deployments if spec.name and spec.entrypoint),
        actions,
        tuple(_work_pools(document, top.get("work_pools") or (), folder, report)),
    )
    by_entrypoint = ((spec, normal_entrypoint(spec.entrypoint)) for spec in project.deployments)
    check_same_names(by_entrypoint, report)
    return project


def check_same_names(specs: Iterable[tuple[DeploymentSpec, str]], report: Report) -> None:
    """Tells of deployments that are one and the same on the server (DC129).

    Each comes with what stands for its flow: the entrypoint as long as nobody has looked into the
    code, then the flow's name.
    """
    groups: dict[tuple[str, str], list[DeploymentSpec]] = defaultdict(list)
    for spec, flow in specs:
        if not is_open(spec.name):
            groups[(flow, spec.name)].append(spec)
    for (_, name), (first, *others) in groups.items():
        for other in others:
            place = first.where(("name",))
            report.error(
                "DC129",
                f"the deployment '{name}' of this flow is given twice",
                other.where(("name",)),
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
    here: Path = ("deployments", index)
    written = document.data["deployments"][index]
    rendered, problems = render(written, Scope(environ=environ), rule_for())
    redact.remember(redact.secret_texts(rendered))
    raw, wrong = read(rendered, keys.DEPLOYMENT, lambda path: document.source((*here, *path)))
    raw = raw or {}
    problems += wrong
    problems += malformed_placeholders(written)
    problems += check_outputs(raw, actions, environ)
    problems += fields(raw)[1]
    spec = DeploymentSpec(here, raw.get("name", ""), raw.get("entrypoint", ""), raw, document)
    spec.tell(problems, report)
    return spec


def _work_pools(
    document: Document, pools: Iterable[Json], folder: FilePath, report: Report
) -> Iterator[Mapping[str, Json]]:
    """The declared pools, each with the template that its file holds."""
    seen: set[str] = set()
    for index, pool in enumerate(pools):
        if not isinstance(pool, dict):
            continue
        here: Path = ("work_pools", index)
        name, template = pool.get("name"), pool.get("base_job_template")
        if not name or not pool.get("type"):
            continue
        if name in seen:
            report.error(
                "DC129", f"the work pool '{name}' is given twice", document.spans.value(here)
            )
        seen.add(name)
        if isinstance(template, str):
            file, (template, wrong) = template, _template(folder / template)
            if wrong:
                report.error(
                    "DC130",
                    f"the template '{file}' of work pool '{name}' cannot be read: {wrong}",
                    document.spans.value((*here, "base_job_template")),
                    help="give the path of a JSON file, relative to this file's folder",
                )
        found = {**pool, "base_job_template": template}
        if "queues" in pool:
            queues = pool["queues"]
            found["queues"] = [queue for queue in queues if _is_known(queue)]
            document.tell((each.below((*here, "queues")) for each in _same(queues)), report)
        yield {key: value for key, value in found.items() if key in pool and value is not ABSENT}


def _template(path: FilePath) -> tuple[Json, str]:
    """The template in a file; ABSENT, and why, where it holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return ABSENT, str(error.strerror)
    except ValueError:
        return ABSENT, "it is not JSON"
    return (found, "") if isinstance(found, dict) else (ABSENT, "it holds no mapping")


def _is_known(queue: Json) -> bool:
    return isinstance(queue, dict) and not is_open(queue.get("priority"))


def _same(queues: Iterable[Json]) -> Iterator[Problem]:
    """Names and priorities that two queues of a pool have."""
    seen: set[tuple[str, Json]] = set()
    for index, queue in enumerate(queues):
        for key, code in (("name", "DC129"), ("priority", "DC132")):
            value = queue.get(key) if isinstance(queue, dict) else None
            if (key, value) in seen:
                message = f"another queue of this work pool has the {key} '{value}'"
                yield Problem((index, key), code, message, f"give each queue a {key} of its own")
            elif value is not None and not is_open(value):
                seen.add((key, value))


def _unfilled(pools: Json) -> Iterator[Problem]:
    """Templates in work pools that the environment cannot fill in, where they mean something."""
    for path, leaf in leaves(pools):
        if "base_job_template" in path or path[-1:] == ("description",):
            continue
        for placeholder in placeholders(leaf if isinstance(leaf, str) else ""):
            if placeholder.kind is not Kind.ENV:
                message = f"nothing fills in '{placeholder}' here"
                help_ = "write the value, or {{ $NAME }} for an environment variable"
                yield Problem(("work_pools", *path), "DC133", message, help_)


def _reserved(data: Mapping[str, Json]) -> Iterator[Problem]:
    for name in keys.LATER:
        if name in data:
            message = f"'{name}' is not supported yet, and is ignored"
            help_ = "it is kept free for deployctl; rename it to 'x-…' if it is an anchor of yours"
            yield Problem((name,), "DC131", message, help_, Severity.WARNING)
