"""What the code says about the flows of a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from deployctl.core.diagnostics import Diagnostic, Report, Span
from deployctl.core.json_values import JsonPath
from deployctl.flows.inspect import inspect_flows
from deployctl.flows.metadata import FlowMetadata
from deployctl.project.coerce import is_unresolved
from deployctl.project.model import DeploymentSpec, Project
from deployctl.project.renames import former_key
from deployctl.project.selection import Selection, candidate_of, may_be_selected


@dataclass(frozen=True, slots=True)
class Flows:
    """What the code says about the entrypoints of a file."""

    facts: Mapping[str, FlowMetadata]
    """By entrypoint, as far as it can be read."""
    diagnostics: Mapping[str, Sequence[Diagnostic]]
    """By entrypoint: what is wrong with it, at the first entry that names it."""

    def report(self, specs: Iterable[DeploymentSpec], report: Report) -> None:
        """Reports the diagnostics of entrypoints, each once, at the first of these entries."""
        first: dict[str, DeploymentSpec] = {}
        for spec in specs:
            first.setdefault(spec.entrypoint, spec)
        for entrypoint, spec in first.items():
            found = self.diagnostics.get(entrypoint, ())
            report.extend(replace(each, span=spec.span(("entrypoint",))) for each in found)


def inspect_project_flows(
    project: Project,
    selection: Selection,
    changed: Container[JsonPath] | None,
    report: Report,
    *,
    imports: bool,
) -> Flows:
    """Inspects the flow of every entry that may be selected; reports what concerns none of them.

    `changed`: the paths of the entries that `--changed-since` may select; None if all may.
    `imports`: whether flows are imported whose text doesn't give everything.
    """
    entrypoints: dict[str, Span | None] = {}
    names: dict[str, str] = {}
    # What is renamed must not be declared any more, which the flow's name decides.
    former = {old[1] for spec in project.deployments if (old := former_key(spec, ""))}
    for spec in project.deployments:
        known = spec.entrypoint and not is_unresolved(spec.entrypoint)
        is_wanted = may_be_selected(candidate_of(spec), selection)
        is_wanted = is_wanted and (changed is None or spec.path in changed)
        if known and (is_wanted or spec.name in former):
            entrypoints.setdefault(spec.entrypoint, spec.span(("entrypoint",)))
            name = str(spec.raw.get("flow_name") or "")
            if name and not is_unresolved(name):
                names.setdefault(spec.entrypoint, name)
    if selection.entrypoint:
        entrypoints.setdefault(selection.entrypoint, None)
    found = Report()
    facts = inspect_flows(entrypoints, project.folder, found, flow_names=names, imports=imports)
    by_span = {span: entrypoint for entrypoint, span in entrypoints.items()}
    diagnostics: dict[str, list[Diagnostic]] = defaultdict(list)
    for each in found:
        if each.span in by_span:
            diagnostics[by_span[each.span]].append(each)
        else:
            report.extend([each])
    return Flows(facts, diagnostics)
