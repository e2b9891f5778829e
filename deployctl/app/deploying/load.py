"""The offline part of every command: the file read, deployments chosen, their code looked at.

All that can be wrong without a server is told here, at once. What is wrong with entries that the
command does not mean is not its business: a variable that only production sets must not keep
anybody from deploying to staging.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.core.diagnostics import Diagnostic, Report, Span
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json
from deployctl.deploy.model import Key
from deployctl.flows.inspect import inspect_flows
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.parameters import check_parameters
from deployctl.project.coerce import is_unresolved
from deployctl.project.document import Document, parse_document, read_document
from deployctl.project.model import DeploymentSpec, Project
from deployctl.project.normalize import normalize
from deployctl.project.overrides import Overrides, apply_overrides
from deployctl.project.parse import check_same_names, parse_project
from deployctl.project.selection import Candidate, Selection, SelectionResult, select
from deployctl.steps.catalog import is_docker_step
from deployctl.steps.checks import check_steps
from deployctl.steps.model import Step, effective_steps, parse_steps
from deployctl.templating.problems import Problem, report_problems


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the command line asks to be looked at."""

    selection: Selection = field(default_factory=Selection)
    overrides: Overrides = field(default_factory=Overrides)
    project: str | None = None
    """The name to keep the record under instead of the file's."""
    skip_build: bool = False


@dataclass(frozen=True, slots=True)
class SelectedDeployment:
    """A deployment that was asked for, with what its code says."""

    spec: DeploymentSpec
    facts: FlowMetadata
    entry: Mapping[str, Json]
    """The entry without `build` and `push`, and with the file's `pull` where it has none."""
    fields: Mapping[str, Json]
    """What `normalise` makes of it before templates are filled in."""
    build: tuple[Step, ...]
    push: tuple[Step, ...]

    @property
    def key(self) -> Key:
        """Flow and deployment name."""
        return (self.facts.name, self.spec.name)

    @property
    def name(self) -> str:
        """The key as people write it."""
        return "/".join(self.key)

    def parameter_problems(self, fields: Mapping[str, Json]) -> list[Problem]:
        """What the flow says of the parameters in `fields`, if they are known; paths start at the
        entry."""
        given = fields.get("parameters") or {}
        if is_unresolved(given):
            return []
        enforced = fields.get("enforce_parameter_schema", True) is not False
        schema = self.facts.parameter_schema
        wrong = check_parameters(given, schema, enforced)
        return [problem.below(("parameters",)) for problem in wrong]


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """One project file, as far as it was asked for."""

    project: str
    document: Document
    selected: tuple[SelectedDeployment, ...]
    work_pools: tuple[Mapping[str, Json], ...]
    selects_all: bool
    """Whether all deployments of the file are meant."""

    def check_parameters(self, report: Report) -> None:
        """Tells what is wrong with the parameters, as far as their values are known."""
        for each in self.selected:
            each.spec.report_problems(each.parameter_problems(each.fields), report)

    @property
    def has_image_steps(self) -> bool:
        """Whether there are steps that build or push images."""
        return any(is_docker_step(step) for steps in self.steps.values() for step in steps)

    @property
    def steps(self) -> dict[str, Sequence[Step]]:
        """The build and push steps of each deployment that has some, by its name."""
        found = {each.name: (*each.build, *each.push) for each in self.selected}
        return {name: steps for name, steps in found.items() if steps}


def load_project(
    path: Path, order: LoadOptions, report: Report, environ: Mapping[str, str]
) -> LoadedProject | None:
    """Reads a file and all that it leads to; None where the file cannot be read at all.

    Raises UsageError where the order does not fit the file.
    """
    found = Report()
    document = _document(path, order.selection, found)
    if document is None:
        _copy(found, report)
        return None
    project = parse_project(document, found, environ)
    facts = _inspect(project, order.selection, found)
    try:
        specs = _selected(project, facts, order.selection)
    except UsageError:
        _copy(found, report)
        if report.errors:
            return None
        raise
    chosen = [
        _chosen(spec, facts[spec.entrypoint], project, order, found)
        for spec in specs
        if spec.entrypoint in facts
    ]
    check_same_names(((each.spec, each.facts.name) for each in chosen), found)
    _copy(found, report, _others(document, specs))
    name = order.project or project.name
    whole = len(specs) == len(project.deployments)
    return LoadedProject(name, document, tuple(chosen), project.work_pools, whole)


def _document(path: Path, selection: Selection, report: Report) -> Document | None:
    """The file; an empty one where it is missing and `FILE:FLOW -n NAME` needs none."""
    if selection.entrypoint and selection.names and not path.exists():
        return parse_document("{}", str(path), report)
    return read_document(path, report)


def _inspect(project: Project, selection: Selection, report: Report) -> dict[str, FlowMetadata]:
    """What the code of every deployment that may be meant says, by entrypoint."""
    meant = {
        spec.entrypoint: spec.span(("entrypoint",))
        for spec in project.deployments
        if _may_be_meant(spec, selection)
    }
    if selection.entrypoint:
        meant.setdefault(selection.entrypoint, None)
    return inspect_flows(meant, project.folder, report)


def _may_be_meant(spec: DeploymentSpec, selection: Selection) -> bool:
    """Whether the names leave it possible, as far as can be said without the flow's name."""
    names = [name.rpartition("/")[2] for name in selection.names]
    return not names or any(fnmatch.fnmatchcase(spec.name, _only_stars(name)) for name in names)


def _only_stars(pattern: str) -> str:
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _selected(
    project: Project, facts: Mapping[str, FlowMetadata], selection: Selection
) -> list[DeploymentSpec]:
    candidates = [
        Candidate(
            facts[spec.entrypoint].name if spec.entrypoint in facts else "",
            spec.name,
            spec.entrypoint,
        )
        for spec in project.deployments
    ]
    selected: SelectionResult = select(candidates, selection)
    if selected.ad_hoc:
        raw = {"name": selected.ad_hoc, "entrypoint": selection.entrypoint}
        return [DeploymentSpec((), selected.ad_hoc, selection.entrypoint, raw, project.document)]
    return [project.deployments[index] for index in selected.indexes]


def _chosen(
    spec: DeploymentSpec, facts: FlowMetadata, project: Project, order: LoadOptions, report: Report
) -> SelectedDeployment:
    raw = apply_overrides(spec.raw, order.overrides)
    said = frozenset(name for name in raw if raw[name] != spec.raw.get(name))
    spec = replace(spec, overridden=said)
    fields, problems = normalize(raw)
    spec.report_problems(problems, report)
    entry = {name: value for name, value in raw.items() if name not in ("build", "push")}
    if (pull := effective_steps("pull", raw, project.actions)) is not None:
        entry["pull"] = pull
    build, push = (_steps(kind, spec, raw, project, order, report) for kind in ("build", "push"))
    return SelectedDeployment(spec, facts, entry, fields, build, push)


def _steps(
    kind: str,
    spec: DeploymentSpec,
    raw: Mapping[str, Json],
    project: Project,
    order: LoadOptions,
    report: Report,
) -> tuple[Step, ...]:
    """The steps that hold for a deployment, at their places in the document."""
    value = effective_steps(kind, raw, project.actions)
    own = value is raw.get(kind)
    steps, problems = parse_steps(value, (*spec.path, kind) if own else (kind,))
    if not order.skip_build:
        problems += check_steps(steps)
    report_problems(problems, report, spec.document.spans.value)
    return tuple(steps)


def _others(document: Document, specs: Iterable[DeploymentSpec]) -> list[Span]:
    """Where the entries stand that the command does not mean."""
    meant = {spec.path for spec in specs}
    entries = document.data.get("deployments")
    paths = [("deployments", n) for n in range(len(entries if isinstance(entries, list) else ()))]
    spans = (document.spans.value(path) for path in paths if path not in meant)
    return [span for span in spans if span is not None]


def _copy(found: Report, report: Report, others: Sequence[Span] = ()) -> None:
    """Adds what was found, without what concerns entries that the command does not mean."""
    report.extend(item for item in found if not any(_inside(item, span) for span in others))


def _inside(diagnostic: Diagnostic, span: Span) -> bool:
    place = diagnostic.span
    if place is None or place.file != span.file:
        return False
    start, end = (span.line, span.column), (span.end_line, span.end_column)
    return start <= (place.line, place.column) < end
