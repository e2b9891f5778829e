"""Compares an entry with the deployment that it was made from, as `plan` would.

So an exported file is right by construction, whatever a server holds: what the file's own checks
refuse, what a placeholder would change and what a plan would write is found here, by the same code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.desired_state import PlanInputs, PoolInfo, desired_deployment
from deployctl.app.deploying.load import SelectedDeployment
from deployctl.app.deploying.step_loader import StepLoader
from deployctl.core.diagnostics import Diagnostic, Report, Severity
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Resource
from deployctl.deploy.plan import compare
from deployctl.flows.metadata import FlowMetadata
from deployctl.project.document import parse_document
from deployctl.project.model import DeploymentSpec
from deployctl.project.parse import parse_project
from deployctl.project.resources import key_path
from deployctl.project.yaml_text import yaml_lines
from deployctl.templating.references import ReferenceValues

_FILE = "prefect.yaml"
_CHILDREN = {"schedule": "schedules", "automation": "triggers"}


@dataclass(frozen=True, slots=True)
class EntryChecks:
    """What entries are compared with."""

    dialect: Dialect
    pools: Mapping[str, PoolInfo]
    environ: Mapping[str, str]
    """The variables that stand for secrets, and no others: where the file is used is not known."""

    def differences(
        self, entry: Mapping[str, Json], current: Resource, facts: FlowMetadata | None
    ) -> dict[str, str]:
        """Key of the entry → why a plan of it would not say "no changes".

        `facts` are those of the flow's code, None if it isn't there.
        """
        report = Report()
        document = parse_document("\n".join(yaml_lines({"deployments": [entry]})), _FILE, report)
        if document is None:
            return {"name": "its text is not valid YAML"}
        project = parse_project(document, report, self.environ)
        if not project.deployments:
            return {"name": "its entry cannot be read"}
        spec = project.deployments[0]
        spec.report_problems(spec.problems, report)
        StepLoader(project, False, self.environ).load(spec, spec.raw, _without_pull(spec), report)
        selected = _selected(spec, current, facts)
        if selected.facts.parameter_schema:
            spec.report_problems(selected.parameter_problems(selected.fields), report)
        inputs = PlanInputs(self.dialect, self.environ, Path.cwd(), ReferenceValues({}), self.pools)
        desired = desired_deployment(selected, inputs, report)
        change = compare(desired, _as_read(current, desired), _nothing_declared, self.dialect)
        found = dict(_refused(report, spec))
        for key, reason in _changed(change):
            found.setdefault(key, reason)
        return found


def _selected(
    spec: DeploymentSpec, current: Resource, facts: FlowMetadata | None
) -> SelectedDeployment:
    """The entry as it is loaded, with a flow whose schema is that of the server."""
    flow, _ = current.key
    schema = facts.parameter_schema if facts else current.fields["parameter_openapi_schema"]
    known = FlowMetadata(flow, facts.description if facts else None, None, schema or {})
    pull = spec.raw.get("pull")
    return SelectedDeployment(spec, known, spec.raw, {**spec.fields, "pull": pull}, (), ())


def _without_pull(spec: DeploymentSpec) -> dict[str, Json]:
    return {name: value for name, value in spec.raw.items() if name != "pull"}


def _as_read(current: Resource, desired: Resource) -> Resource:
    """The deployment as a plan reads it: with automations of those names that the file has."""
    names = {child.key[-1] for child in desired.children if child.kind == "automation"}
    children = tuple(
        child for child in current.children if child.kind != "automation" or child.key[-1] in names
    )
    fields = {**current.fields, "parameter_openapi_schema": desired.fields.get(_SCHEMA)}
    return replace(current, children=children, fields=fields)


_SCHEMA = "parameter_openapi_schema"


def _nothing_declared(kind: str, key: object) -> frozenset[str]:  # noqa: ARG001
    return frozenset()


def _refused(report: Report, spec: DeploymentSpec) -> Iterator[tuple[str, str]]:
    """The keys of errors, with their messages; the first of each key."""
    seen = set()
    for item in report:
        if item.severity is Severity.ERROR and (key := _key_at(item, spec)) not in seen:
            seen.add(key)
            yield key, item.message


def _key_at(item: Diagnostic, spec: DeploymentSpec) -> str:
    """The key of the entry in whose lines a diagnostic stands; its name if it has no place."""
    starts = {
        span.line: str(name)
        for name in spec.document.data["deployments"][0]
        if (span := spec.document.spans.key((*spec.path, name))) is not None
    }
    line = item.span.line if item.span else 0
    return starts[max((start for start in starts if start <= line), default=min(starts))]


def _changed(change: Change) -> Iterator[tuple[str, str]]:
    for part in change.fields:
        key = str(key_path("deployment", part.field)[0])
        yield ("pull" if part.field == "pull_steps" else key), f"it would change '{part.field}'"
    for child in change.children:
        if child.is_needed:
            yield _CHILDREN[child.kind], f"it would change the {child.title}"
