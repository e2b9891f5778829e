"""From what the file says and the server knows to the items that should be there. Pure.

Called twice by a deploy that has steps to run: with their outputs unknown, for the plan and every
check that can be made before anything runs, and again with what the steps gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.load import SelectedDeployment
from deployctl.clients.git import Checkout
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.deploy import desired
from deployctl.deploy.model import Resource
from deployctl.jobs.variables import PoolVariables
from deployctl.project.coerce import is_unresolved
from deployctl.project.normalize import normalize
from deployctl.project.resources import key_path
from deployctl.project.triggers import automations
from deployctl.steps.pull import declared_pull, default_pull
from deployctl.steps.version import commit_info, resolve_version
from deployctl.templating.deployment import deployment_rule
from deployctl.templating.problems import Problem
from deployctl.templating.references import ReferenceValues, missing_references
from deployctl.templating.render import Scope, render


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """What has to be known of a work pool to deploy to it."""

    type: str
    variables: PoolVariables


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """All that was found out before items can be made."""

    dialect: Dialect
    environ: Mapping[str, str]
    folder: Path
    """Where deployctl runs."""
    library: ReferenceValues
    pools: Mapping[str, PoolInfo]
    default_pool: str | None = None
    checkout: Checkout | None = None
    outputs: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """Deployment → outputs of its steps."""
    steps_skipped: bool = False
    pins: Mapping[str, Json] = field(default_factory=dict)
    """`name:tag` → what job variables say instead, to name exactly the image that was pushed."""


def pool_name(chosen: SelectedDeployment, default: str | None) -> str | None:
    """The work pool of a deployment: its own, else the one of the settings."""
    name = chosen.fields.get("work_pool_name") or default
    return str(name) if name else None


def desired_deployment(chosen: SelectedDeployment, known: PlanInputs, report: Report) -> Resource:
    """The deployment as it should be; what is wrong with it is in the report."""
    name = pool_name(chosen, known.default_pool)
    pool = known.pools.get(name or "") or PoolInfo("", PoolVariables(None))
    rendered, problems = _rendered(chosen, known, pool)
    fields, wrong = normalize(rendered)
    if known.pins and "job_variables" in fields:
        fields = {**fields, "job_variables": _pinned(fields["job_variables"], known.pins)}
    problems += wrong
    problems += chosen.parameter_problems(fields)
    variables = fields.get("job_variables") or {}
    if is_unresolved(variables):
        variables = {}
    for problem in pool.variables.check(variables):
        problems.append(problem.below(("work_pool", "job_variables")))
    api, inferred = _api_fields(fields, chosen, known, name)
    if "pull_steps" not in api:
        api["pull_steps"], found = default_pull(chosen.build, variables, known.folder, pool.type)
        problems += found
    bodies = _automations(chosen.key[1], fields)
    item, left_out = desired.fit_to_server(
        desired.deployment(chosen.key, api, bodies, passive=inferred), known.dialect
    )
    if not known.dialect.cloud and any(each.get("type") == "metric" for each in _listed(fields)):
        report.error(
            "DC513",
            "metric triggers work on Prefect Cloud only",
            chosen.spec.span(("triggers",)),
            help="remove the trigger; this server takes event, compound and sequence triggers",
        )
    if fields.get("sla"):
        report.warning("DC514", "service levels are not deployed", chosen.spec.span(("sla",)))
    chosen.spec.report_problems(problems, report)
    _warn_left_out(left_out, chosen, known.dialect, report)
    return item


def _rendered(
    chosen: SelectedDeployment, known: PlanInputs, pool: PoolInfo
) -> tuple[Json, list[Problem]]:
    """The entry with everything filled in that is not the worker's to fill in."""
    scope = Scope(known.environ, known.outputs.get(chosen.name, {}), known.library)
    rendered, problems = render(chosen.entry, scope, deployment_rule(pool.variables.allows_string))
    if known.steps_skipped:
        help_ = "no steps are run: write the value into the file, or build"
        problems = [
            replace(problem, help=help_) if problem.code == "DC303" else problem
            for problem in problems
        ]
    told = {problem.path for problem in problems}
    missing = missing_references(rendered, known.library)
    return rendered, [*problems, *(problem for problem in missing if problem.path not in told)]


def _pinned(value: Json, pins: Mapping[str, Json]) -> Json:
    """A value in which each text that is the name of an image names exactly that image."""
    if isinstance(value, dict):
        return {key: _pinned(item, pins) for key, item in value.items()}
    if isinstance(value, list):
        return [_pinned(item, pins) for item in value]
    return pins.get(value, value) if isinstance(value, str) else value


def _api_fields(
    fields: Mapping[str, Json], chosen: SelectedDeployment, known: PlanInputs, pool: str | None
) -> tuple[dict[str, Json], frozenset[str]]:
    """The fields by the API's names, and those of them that nobody wrote."""
    facts = chosen.facts
    version_type = fields.get("version_type")
    commit = commit_info(known.environ, known.checkout, version_type)
    version = resolve_version(fields.get("version"), facts.version, commit)
    api = {**fields, "entrypoint": chosen.spec.entrypoint, "version": version.text}
    api["parameter_openapi_schema"] = facts.parameter_schema
    api["version_info"] = dict(version.info)
    if pool:
        api["work_pool_name"] = pool
    if "description" not in fields and facts.description:
        api["description"] = facts.description
    if fields.get("pull") is not None:
        api["pull_steps"] = declared_pull(fields["pull"], known.dialect.major)
    passive = {"version_info", "version"} if version.inferred else {"version_info"}
    return api, frozenset(passive)


def _listed(fields: Mapping[str, Json]) -> Sequence[Mapping[str, Json]]:
    triggers = fields.get("triggers")
    return [each for each in triggers if isinstance(each, Mapping)] if triggers else []


def _automations(
    deployment: str, fields: Mapping[str, Json]
) -> Sequence[Mapping[str, Json]] | None:
    """The bodies of the triggers; whether one is enabled belongs to the UI unless the file says."""
    if "triggers" not in fields:
        return None
    triggers = fields["triggers"]
    bodies = automations(deployment, triggers)
    for body, trigger in zip(bodies, triggers, strict=True):
        if "enabled" not in trigger:
            body.pop("enabled", None)
    return bodies


def _warn_left_out(
    left_out: Sequence[str], chosen: SelectedDeployment, dialect: Dialect, report: Report
) -> None:
    """Warns about declared fields that the server doesn't have (DC512)."""
    for name in left_out:
        kind, _, field_name = name.rpartition(".")
        path = key_path(kind or "deployment", field_name)
        place = (_LISTS[kind],) if kind else path
        report.warning(
            "DC512",
            f"{dialect} does not know '{path[-1]}', which is left out",
            chosen.spec.span(place),
            help="Remove it from the file, or upgrade the server.",
        )


_LISTS = {"schedule": "schedules", "automation": "triggers"}
"""Kind of child → the key of a deployment that lists them."""
