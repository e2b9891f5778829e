"""Checks of the project file, and what it says about pools, queues and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.app.deploying.load import LoadedProject, LoadOptions, load_project
from deployctl.app.doctor.model import Area, Check, failed, failed_with, ok, skipped
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.images.reference import ImageReference
from deployctl.project.coerce import is_unresolved
from deployctl.project.selection import Selection
from deployctl.steps.catalog import is_docker_build, is_docker_step
from deployctl.steps.docker import full_name
from deployctl.templating.render import Scope, render


@dataclass(frozen=True, slots=True)
class ProjectFindings:
    """What a project file says that other checks need."""

    checks: tuple[Check, ...] = ()
    pools: frozenset[str] = frozenset()
    queues: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Flow and deployment → its pool and queue, for deployments that name both."""
    pushes: tuple[str, ...] = ()
    """Names of the images that it pushes."""
    builds: bool = False
    uses_buildx: bool = False


def examine_project(
    file: Path, environ: Mapping[str, str], namespace: str, environment: str | None = None
) -> ProjectFindings:
    """Reads a project file, in an environment, without importing flows and without a server.

    `namespace` is prepended to image names without one (PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE).
    """
    if not file.exists():
        return ProjectFindings((skipped(Area.PROJECT, "file", f"there is no '{file}' here"),))
    report = Report()
    options = LoadOptions(
        Selection(everything=True), environment=environment, imports=False, offline=True
    )
    try:
        project = load_project(file, options, report, environ)
    except DeployctlError as error:
        return ProjectFindings((failed_with(Area.PROJECT, "file", error),))
    check = file_check(str(file), report, len(project.selected) if project else 0)
    found = _findings(project, environ, namespace) if project else ProjectFindings()
    return replace(found, checks=(check,))


def file_check(file: str, report: Report, deployments: int) -> Check:
    """Judges the diagnostics of a file."""
    errors = [each for each in report.distinct() if each.severity is Severity.ERROR]
    if not errors:
        return ok(Area.PROJECT, "file", f"{file}: {_count(deployments, 'deployment')}")
    where = f" ({errors[0].span})" if errors[0].span else ""
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return failed(
        Area.PROJECT,
        "file",
        f"{errors[0].message}{where}{more}",
        "`deployctl validate` shows all errors.",
    )


def _findings(
    project: LoadedProject, environ: Mapping[str, str], namespace: str
) -> ProjectFindings:
    queues = {}
    pools = set()
    for each in project.selected:
        pool, queue = (
            _text(each.fields.get("work_pool_name")),
            _text(each.fields.get("work_queue_name")),
        )
        pools |= {pool} if pool else set()
        if pool and queue:
            queues[each.facts.name, each.spec.name] = (pool, queue)
    steps = [step for listed in project.steps.values() for step in listed if is_docker_step(step)]
    builds = [step for step in steps if is_docker_build(step)]
    pushes = [step for step in steps if not is_docker_build(step) or step.inputs.get("push")]
    named = (_repository(step.inputs.get("image_name"), environ, namespace) for step in pushes)
    return ProjectFindings(
        pools=frozenset(pools),
        queues=queues,
        pushes=tuple(dict.fromkeys(filter(None, named))),
        builds=bool(builds),
        uses_buildx=any(step.inputs.get("build_backend") == "buildx" for step in builds),
    )


def _repository(name: Json, environ: Mapping[str, str], namespace: str) -> str:
    """The repository of an image name with its environment variables filled in; "" if unknown."""
    text = _text(render(name, Scope(environ))[0])
    try:
        return ImageReference.parse(full_name(text, namespace)).name if text else ""
    except DeployctlError:
        return ""


def _text(value: Json) -> str:
    return value if isinstance(value, str) and not is_unresolved(value) else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
