"""`renamed_from`: the former name of a deployment, checked against the entries of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deployctl.core.diagnostics import Report
from deployctl.project.coerce import is_unresolved
from deployctl.project.model import DeploymentSpec


def former_key(spec: DeploymentSpec, flow: str) -> tuple[str, str] | None:
    """Flow and name that a deployment of `flow` had, if its entry says so."""
    own, _, name = str(spec.raw.get("renamed_from") or "").rpartition("/")
    return (own or flow, name) if name else None


def check_renames(
    specs: Iterable[tuple[DeploymentSpec, str]],
    declared: Mapping[tuple[str, str], DeploymentSpec],
    report: Report,
) -> list[DeploymentSpec]:
    """Reports entries that cannot be renamed (DC150), and returns them.

    Each comes with the name of its flow. `declared` are all entries of the file whose flow is
    known, by flow and name.
    """
    sources: dict[tuple[str, str], DeploymentSpec] = {}
    wrong = []
    for spec, flow in specs:
        old = former_key(spec, flow)
        if old is None:
            continue
        text, other, label = "/".join(old), declared.get(old), "declared here"
        if is_unresolved(text):
            problem, other = "its former name must be known before steps run", None
            help_ = "Write it without placeholders of steps, blocks and variables."
        elif old == (flow, spec.name):
            problem, other = "that is its name", None
            help_ = "Write its former name, or remove `renamed_from`."
        elif other:
            problem = "that one is still declared"
            help_ = "Remove its entry, or `renamed_from`."
        elif other := sources.get(old):
            problem, label = "another entry says the same", "this one"
            help_ = "One deployment becomes one other. Remove `renamed_from` from the others."
        else:
            sources[old] = spec
            continue
        span = other.span(("name",)) if other else None
        report.add(
            "DC150",
            f"'{spec.name}' cannot be renamed from '{text}': {problem}",
            spec.span(("renamed_from",)),
            help=help_,
            related=[(span, label)] if span else (),
        )
        wrong.append(spec)
    return wrong
