"""The offline part of every command: reads the file, selects deployments, inspects their code.

Everything that can be checked without a server is checked here. Only problems of selected entries
are reported: a variable that only production sets must not prevent a deploy to staging. An entry
that cannot be deployed is selected like any other, so that its problems are never lost.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from deployctl.app.deploying.flow_inspection import inspect_project_flows
from deployctl.app.deploying.pool_templates import DeclaredPools, check_pool_templates
from deployctl.app.deploying.project_file import read_project
from deployctl.app.deploying.step_loader import StepLoader
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.errors import UsageError
from deployctl.core.json_values import Json, JsonPath
from deployctl.deploy.model import Key
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.parameters import check_parameters
from deployctl.project.coerce import is_unresolved
from deployctl.project.declared import DeclaredResource
from deployctl.project.document import Document
from deployctl.project.environments import project_in
from deployctl.project.identity import identifying_references, render_identity, unresolved_identity
from deployctl.project.model import DeploymentSpec, Project
from deployctl.project.normalize import normalize
from deployctl.project.overrides import Overrides, apply_overrides
from deployctl.project.parse import (
    check_same_names,
    parse_project,
    report_entries,
    same_entrypoint,
)
from deployctl.project.renames import check_renames, former_key
from deployctl.project.selection import (
    Selection,
    SelectionResult,
    candidate_of,
    report_undecided,
    select,
)
from deployctl.steps.catalog import is_docker_step
from deployctl.steps.model import Step, effective_steps
from deployctl.steps.placeholders import Outputs
from deployctl.templating.problems import Problem
from deployctl.templating.references import Reference, ReferenceValues, references
from deployctl.templating.render import Scope


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The part of the command line that concerns the file."""

    selection: Selection = field(default_factory=Selection)
    overrides: Overrides = field(default_factory=Overrides)
    project: str | None = None
    """The project name for the last-applied record, instead of the file's."""
    skip_build: bool = False
    keep_going: bool = False
    """Whether deployments with errors are left out instead of stopping the command."""
    strict: bool = False
    """Whether warnings are errors."""
    environment: str | None = None
    """The environment whose values the file has."""
    assignments: tuple[str, ...] = ()
    """Values that replace those of the files, as `PATH=YAML`."""
    offline: bool = False
    """Whether the command only checks, so that names may stay unresolved."""
    imports: bool = True
    """Whether flows are imported whose text doesn't give everything, which only a deploy needs."""


@dataclass(frozen=True, slots=True)
class SelectedDeployment:
    """A selected deployment with the facts of its flow."""

    spec: DeploymentSpec
    facts: FlowMetadata
    entry: Mapping[str, Json]
    """The entry without `build` and `push`, and with the file's `pull` where it has none."""
    fields: Mapping[str, Json]
    """The fields that `normalize` returns for it before templates are rendered."""
    build: tuple[Step, ...]
    push: tuple[Step, ...]

    @property
    def is_named_by_steps(self) -> bool:
        """Whether outputs of steps name the deployment, its pool or triggers; see `with_names`."""
        return any(path[-1] != "work_queue_name" for path, _ in unresolved_identity(self.entry))

    def with_names(
        self, outputs: Mapping[str, Json], environ: Mapping[str, str]
    ) -> tuple[SelectedDeployment, list[Problem]]:
        """The deployment with the names that the outputs of its steps give."""
        entry, problems = render_identity(self.entry, Scope(environ, outputs))
        changed = {name for name in entry if entry[name] != self.entry[name]}
        fields, invalid = normalize(entry, changed=changed, reported=self.spec.problems)
        spec = replace(self.spec, name=str(entry["name"]), raw={**self.spec.raw, **entry})
        return replace(self, spec=spec, entry=entry, fields=fields), [*problems, *invalid]

    @property
    def key(self) -> Key:
        """Flow and deployment name."""
        return (self.facts.name, self.spec.name)

    @property
    def name(self) -> str:
        """The key as text: `flow/deployment`."""
        return "/".join(self.key)

    @property
    def renamed_from(self) -> Key | None:
        """The deployment that this one replaces; of the same flow unless it names another one."""
        return former_key(self.spec, self.facts.name)

    def parameter_problems(self, fields: Mapping[str, Json]) -> list[Problem]:
        """The problems of the parameters in `fields`, with paths in the entry.

        None if the parameters are not known yet.
        """
        parameters = fields.get("parameters") or {}
        if is_unresolved(parameters):
            return []
        enforced = fields.get("enforce_parameter_schema", True) is not False
        schema = self.facts.parameter_schema
        problems = check_parameters(parameters, schema, enforced)
        return [problem.below(("parameters",)) for problem in problems]

    def normalize_rendered(
        self, rendered: Mapping[str, Json]
    ) -> tuple[Mapping[str, Json], list[Problem]]:
        """The fields of the rendered entry, and the problems of what was a template until now."""
        changed = {name for name in rendered if rendered[name] != self.entry[name]}
        if not changed:
            return self.fields, []
        fields, problems = normalize(rendered, changed=changed, reported=self.spec.problems)
        known = self.parameter_problems(self.fields)
        new = (each for each in self.parameter_problems(fields) if each not in known)
        return fields, [*problems, *new]


@dataclass(frozen=True, slots=True)
class LoadedProject:
    """One project file with its selected deployments."""

    project: str
    document: Document
    selected: tuple[SelectedDeployment, ...]
    work_pools: tuple[Mapping[str, Json], ...]
    declared: tuple[DeclaredResource, ...]
    """The other resources that the file declares at its top."""
    selects_all: bool
    """Whether all deployments of the file are selected."""
    keeps_going: bool = False
    """Whether deployments with errors are left out instead of stopping the command."""
    strict: bool = False
    """Whether warnings are errors."""
    leaves_out: bool = False
    """Whether some were left out."""
    is_named: bool = True
    """Whether the project's name is not that of its folder, which differs by machine."""

    selected_by: SelectionResult = field(default_factory=lambda: SelectionResult(()))
    """What the options selected in this file."""
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """With `--changed-since`: deployment → why it counts as changed."""

    def keep_valid(
        self, check: Callable[[SelectedDeployment, Report], object], report: Report
    ) -> LoadedProject:
        """The project after a check of each deployment.

        If the command keeps going, it is without those that the check reports errors of.
        """
        valid = []
        for each in self.selected:
            own = Report()
            check(each, own)
            if self.keeps_going and (own.errors or (self.strict and own.warnings)):
                report.set_aside(own)
            else:
                report.extend(own)
                valid.append(each)
        leaves_out = self.leaves_out or len(valid) < len(self.selected)
        return replace(self, selected=tuple(valid), leaves_out=leaves_out)

    @property
    def is_named_by_steps(self) -> bool:
        """Whether outputs of steps name something; see `with_names`."""
        return any(each.is_named_by_steps for each in self.selected)

    def with_names(
        self, outputs: Mapping[str, Outputs], environ: Mapping[str, str], report: Report
    ) -> tuple[LoadedProject, dict[str, Outputs]]:
        """The project with the names that outputs of steps give; and the outputs by these names."""
        selected, renamed = [], {}
        for each in self.selected:
            own = outputs.get(each.name, {})
            found = each
            if each.is_named_by_steps:
                found, problems = each.with_names(own, environ)
                each.spec.report_problems(problems, report)
            selected.append(found)
            renamed[found.name] = own
        check_same_names(((each.spec, each.facts.name) for each in selected), report)
        return replace(self, selected=tuple(selected)), renamed

    def check_parameters(self, report: Report) -> LoadedProject:
        """Checks known parameters against the schemas of their flows; see `keep_valid`."""

        def check(each: SelectedDeployment, own: Report) -> None:
            """Reports the problems of one deployment's parameters."""
            each.spec.report_problems(each.parameter_problems(each.fields), own)

        return self.keep_valid(check, report)

    @property
    def has_image_steps(self) -> bool:
        """Whether there are steps that build or push images."""
        return any(is_docker_step(step) for steps in self.steps.values() for step in steps)

    @property
    def steps(self) -> dict[str, Sequence[Step]]:
        """The build and push steps by deployment, for deployments that have some."""
        found = {each.name: (*each.build, *each.push) for each in self.selected}
        return {name: steps for name, steps in found.items() if steps}


ReadReferences: TypeAlias = Callable[[Sequence[Reference]], ReferenceValues]
"""Reads blocks and variables from the server."""


def load_project(
    path: Path,
    options: LoadOptions,
    report: Report,
    environ: Mapping[str, str],
    read: ReadReferences | None = None,
) -> LoadedProject | None:
    """Reads a file and inspects its flows; None if the file cannot be read at all.

    `read` is called if names in the file contain references; without it, they stay
    unresolved. Raises UsageError if the options do not fit the file.
    """
    document = read_project(path, options.selection, options.environment, environ, report)
    return load_document(document, options, report, environ, read) if document else None


def load_document(
    document: Document,
    options: LoadOptions,
    report: Report,
    environ: Mapping[str, str],
    read: ReadReferences | None = None,
) -> LoadedProject | None:
    """Loads a document as `load_project` does; None if nothing in it can be selected."""
    pool = {"name": options.overrides.work_pool, "queue": options.overrides.work_queue}
    named = [*identifying_references(document.data), *(found for _, found in references(pool))]
    known = read(named) if named and read else None
    project = parse_project(document, report, environ, known, offline=options.offline)
    check_pool_templates(project, report)
    revision = options.selection.changed_since
    changed = None
    if revision:
        from deployctl.app.deploying.changed_since import changed_since

        changed = changed_since(project, revision, environ, Path.cwd(), options.assignments)
    flows = inspect_project_flows(
        project, options.selection, changed, report, imports=options.imports
    )
    try:
        specs, selected_by = _select(project, flows.facts, options.selection, changed)
    except UsageError:
        # The mistake may be in the file: in the name of an entry, or in the code of its flow.
        report_entries(project.deployments, report)
        flows.report(project.deployments, report)
        if report.errors:
            return None
        raise
    report_undecided(project.deployments, specs, options.selection, report)
    found = Report()
    invalid = report_entries(specs, found)
    flows.report(specs, found)
    levels = (Severity.ERROR, Severity.WARNING) if options.strict else (Severity.ERROR,)
    pools = DeclaredPools(project)
    steps = StepLoader(project, options.skip_build, environ)
    selected = []
    for spec in specs:
        if spec.entrypoint in flows.facts:
            own, facts = Report(), flows.facts[spec.entrypoint]
            each = _selected_deployment(spec, facts, project, options, steps, own)
            each.spec.report_problems(pools.check(each.fields), own)
            found.extend(own)
            selected.append(each)
            own.extend(flows.diagnostics.get(spec.entrypoint, ()))
            if any(each.severity in levels for each in (*own, *spec.problems)):
                invalid.append(spec)
    by_flow = ((each.spec, each.facts.name) for each in selected)
    invalid += check_same_names(by_flow, found, same_entrypoint)
    declared = {
        (flows.facts[spec.entrypoint].name, spec.name): spec
        for spec in project.deployments
        if spec.entrypoint in flows.facts
    }
    invalid += check_renames(((each.spec, each.facts.name) for each in selected), declared, found)
    if options.keep_going:
        report.set_aside(found)
        paths = {spec.path for spec in invalid}
        selected = [each for each in selected if each.spec.path not in paths]
    else:
        report.extend(found)
    return LoadedProject(
        project_in(options.project or project.name, document.environment),
        project.document,
        tuple(selected),
        project.work_pools,
        project.declared,
        selects_all=len(specs) == len(project.deployments),
        keeps_going=options.keep_going,
        strict=options.strict,
        leaves_out=len(selected) < len(specs),
        is_named=bool(options.project or project.document.data.get("name")),
        selected_by=selected_by,
        changes={each.name: changed[each.spec.path] for each in selected} if changed else {},
    )


def _select(
    project: Project,
    facts: Mapping[str, FlowMetadata],
    selection: Selection,
    changed: Container[JsonPath] | None,
) -> tuple[list[DeploymentSpec], SelectionResult]:
    names = {entrypoint: each.name for entrypoint, each in facts.items()}
    candidates = [
        candidate_of(spec, names.get(spec.entrypoint, "")) for spec in project.deployments
    ]
    result = select(candidates, selection)
    if changed is not None:
        indexes = (n for n in result.indexes if project.deployments[n].path in changed)
        result = replace(result, indexes=tuple(indexes))
    if result.ad_hoc:
        raw = {"name": result.ad_hoc, "entrypoint": selection.entrypoint}
        spec = DeploymentSpec((), result.ad_hoc, selection.entrypoint, raw, project.document)
        return [spec], result
    return [project.deployments[index] for index in result.indexes], result


def _selected_deployment(
    spec: DeploymentSpec,
    facts: FlowMetadata,
    project: Project,
    options: LoadOptions,
    steps: StepLoader,
    report: Report,
) -> SelectedDeployment:
    overridden = apply_overrides(spec.raw, options.overrides)
    raw, unknown = render_identity(overridden, Scope(references=project.references))
    fields = spec.fields
    if changed := frozenset(name for name in raw if raw[name] != spec.raw.get(name)):
        spec = replace(spec, overridden=changed)
        fields, problems = normalize(raw, changed=changed, reported=spec.problems)
        reported = {(problem.code, problem.path) for problem in spec.problems}
        problems += [each for each in unknown if (each.code, each.path) not in reported]
        spec.report_problems(problems, report)
    dropped = ("build", "push", "pull")
    entry = {name: value for name, value in raw.items() if name not in dropped}
    fields = {name: value for name, value in fields.items() if name not in dropped}
    build, push = steps.load(spec, raw, entry, report)
    if (pull := effective_steps("pull", raw, project.actions)) is not None:
        entry["pull"] = fields["pull"] = pull
        if raw.get("pull") is None:
            spec = replace(spec, inherited=frozenset({"pull"}))
    return SelectedDeployment(spec, facts, entry, fields, build, push)
