"""Desired deployments, from what the file declares and what the server knows. Pure.

A deploy with build steps calls this twice: for the plan with unknown outputs, so that everything
that can be checked is checked before a step runs, and again with the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.load import SelectedDeployment
from deployctl.clients.git import Checkout
from deployctl.core.diagnostics import Report, Severity
from deployctl.core.json_values import Json, format_path
from deployctl.deploy import desired
from deployctl.deploy.model import Resource
from deployctl.jobs.variables import PoolVariables
from deployctl.project.coerce import is_unresolved
from deployctl.project.identity import unresolved_identity
from deployctl.project.resources import key_path
from deployctl.project.trigger_keys import AUTOMATION
from deployctl.project.triggers import automations
from deployctl.steps.pull import declared_pull, default_pull
from deployctl.steps.version import commit_info, resolve_version
from deployctl.templating.deployment import deployment_rule
from deployctl.templating.problems import Problem
from deployctl.templating.references import ReferenceValues, missing_references
from deployctl.templating.render import Scope, render


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """What a deployment needs to know of its work pool."""

    type: str
    variables: PoolVariables


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """Everything that is read or found out before resources are compared."""

    dialect: Dialect
    environ: Mapping[str, str]
    folder: Path
    """The working directory of deployctl."""
    references: ReferenceValues
    pools: Mapping[str, PoolInfo]
    default_pool: str | None = None
    checkout: Checkout | None = None
    outputs: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Deployment → outputs of its steps."""
    steps_skipped: bool = False
    pins: Mapping[str, Json] = field(default_factory=dict)
    """`name:tag` → `name:tag@digest`, which job variables get instead."""


def pool_name(selected: SelectedDeployment, default: str | None) -> str | None:
    """The work pool of a deployment: its own, else the default of the settings."""
    name = selected.fields.get("work_pool_name") or default
    return str(name) if name else None


def desired_deployment(
    selected: SelectedDeployment, inputs: PlanInputs, report: Report
) -> Resource:
    """The deployment as it should be; problems are reported."""
    name = pool_name(selected, inputs.default_pool)
    pool = inputs.pools.get(name or "") or PoolInfo("", PoolVariables(None))
    rendered, problems = _rendered(selected, inputs, pool)
    fields, invalid = selected.normalize_rendered(rendered)
    if inputs.pins and "job_variables" in fields:
        fields = {**fields, "job_variables": _pinned(fields["job_variables"], inputs.pins)}
    problems += invalid
    reported = {problem.path for problem in problems}
    problems += (each for each in _literal_names(selected, rendered) if each.path not in reported)
    variables = fields.get("job_variables") or {}
    if is_unresolved(variables):
        variables = {}
    for problem in pool.variables.check(variables):
        # `validate --fix` does not read the server's templates.
        problems.append(replace(problem.below(("work_pool", "job_variables")), fix=None))
    declared, passive = _declared(fields, selected, inputs, name)
    if "pull_steps" not in declared:
        steps, found = default_pull(selected.build, variables, inputs.folder, pool.type)
        declared["pull_steps"] = steps
        problems += found
    resource, left_out = desired.fit_to_server(
        desired.deployment(
            selected.key,
            declared,
            _automations(selected.key[1], fields) if inputs.dialect.has_automations else None,
            passive=passive,
        ),
        inputs.dialect,
    )
    _report_unsupported(fields, selected, inputs.dialect, report)
    selected.spec.report_problems(problems, report)
    _warn_left_out(left_out, selected, inputs.dialect, report)
    return resource


def _rendered(
    selected: SelectedDeployment, inputs: PlanInputs, pool: PoolInfo
) -> tuple[Json, list[Problem]]:
    """The entry with all placeholders filled in but those that the worker resolves."""
    outputs = inputs.outputs.get(selected.name, {})
    scope = Scope(inputs.environ, outputs, inputs.references)
    rendered, problems = render(
        selected.entry, scope, deployment_rule(pool.variables.allows_string)
    )
    if inputs.steps_skipped:
        help_ = "No steps are run: write the value into the file, or build."
        problems = [
            replace(problem, help=help_) if problem.code == "DC303" else problem
            for problem in problems
        ]
    reported = {problem.path for problem in problems}
    missing = missing_references(rendered, inputs.references)
    return rendered, [*problems, *(each for each in missing if each.path not in reported)]


def _literal_names(selected: SelectedDeployment, rendered: Mapping[str, Json]) -> list[Problem]:
    """Names that are still placeholders, other than outputs of steps that have not run (DC133)."""
    found = list(unresolved_identity(rendered))
    if "{{" in selected.key[1] and not is_unresolved(rendered["name"]):
        found.append((("name",), selected.key[1]))
    return [
        Problem(path, "DC133", f"'{format_path(path)}' cannot be resolved: '{value}'")
        for path, value in found
    ]


def _pinned(value: Json, pins: Mapping[str, Json]) -> Json:
    """The value with every text that is the name of a pushed image replaced by its digest form."""
    if isinstance(value, dict):
        return {key: _pinned(item, pins) for key, item in value.items()}
    if isinstance(value, list):
        return [_pinned(item, pins) for item in value]
    return pins.get(value, value) if isinstance(value, str) else value


def _declared(
    fields: Mapping[str, Json],
    selected: SelectedDeployment,
    inputs: PlanInputs,
    pool: str | None,
) -> tuple[dict[str, Json], frozenset[str]]:
    """The fields by the API's names, with those that come from the code; and the inferred ones."""
    facts = selected.facts
    version_type = fields.get("version_type")
    commit = commit_info(inputs.environ, inputs.checkout, version_type)
    version = resolve_version(fields.get("version"), facts.version, commit)
    declared = {**fields, "entrypoint": selected.spec.entrypoint, "version": version.text}
    declared["parameter_openapi_schema"] = facts.parameter_schema
    declared["version_info"] = dict(version.info)
    if pool and not is_unresolved(declared.get("work_pool_name")):
        declared["work_pool_name"] = pool
    if "description" not in fields and facts.description:
        declared["description"] = facts.description
    if fields.get("pull") is not None:
        declared["pull_steps"] = declared_pull(fields["pull"], inputs.dialect.major)
    passive = {"version_info", "version"} if version.inferred else {"version_info"}
    return declared, frozenset(passive)


def _automations(
    deployment: str, fields: Mapping[str, Json]
) -> Sequence[Mapping[str, Json]] | None:
    """The bodies of the triggers' automations; `enabled` belongs to the UI if it isn't declared."""
    if "triggers" not in fields:
        return None
    triggers = fields["triggers"]
    bodies = automations(deployment, triggers)
    for body, trigger in zip(bodies, triggers, strict=True):
        body["name"] = str(body["name"])  # an output of a step that has not run, too
        if "enabled" not in trigger:
            body.pop("enabled", None)
    return bodies


def _report_unsupported(
    fields: Mapping[str, Json], selected: SelectedDeployment, dialect: Dialect, report: Report
) -> None:
    """Reports triggers and their keys that the server lacks (DC513, DC512), and SLAs (DC514)."""
    triggers = fields.get("triggers") or ()
    if triggers and not dialect.has_automations:
        report.add(
            "DC513",
            "the server has no automations, so these triggers are left out",
            selected.spec.span(("triggers",)),
            help="Set PREFECT_EXPERIMENTAL_EVENTS and PREFECT_API_SERVICES_TRIGGERS_ENABLED on the "
            "server to true, and deploy again.",
            severity=Severity.WARNING,
        )
        triggers = ()
    has_metric = any(
        isinstance(each, Mapping) and each.get("type") == "metric" for each in triggers
    )
    if has_metric and not dialect.cloud:
        report.add(
            "DC513",
            "metric triggers work on Prefect Cloud only",
            selected.spec.span(("triggers",)),
            help="Remove the trigger. This server has event, compound and sequence triggers.",
        )
    for name, key in AUTOMATION.keys.items():
        is_set = any(isinstance(each, Mapping) and each.get(name) for each in triggers)
        if is_set and key.since and dialect.version < key.since:
            _warn_left_out([f"automation.{name}"], selected, dialect, report)
    if fields.get("sla"):
        report.add("DC514", "service levels are not deployed", selected.spec.span(("sla",)))


def _warn_left_out(
    left_out: Sequence[str], selected: SelectedDeployment, dialect: Dialect, report: Report
) -> None:
    """Warns about declared fields that the server doesn't have (DC512)."""
    for name in left_out:
        kind, _, field_name = name.rpartition(".")
        path = key_path(kind or "deployment", field_name)
        place = (_LISTS[kind],) if kind else path
        report.add(
            "DC512",
            f"{dialect} does not know '{path[-1]}', which is left out",
            selected.spec.span(place),
            help="Remove it from the file, or upgrade the server.",
        )


_LISTS = {"schedule": "schedules", "automation": "triggers"}
"""Kind of child → the key of a deployment that lists them."""
