"""A deployment's triggers: automations that the deployment owns, updated in place.

The API tells neither who owns an automation nor takes a filter for it, so a deployment's
automations are found by name and recognised by the deployment that they run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect
from deployctl.api.paging import PAGE
from deployctl.core.errors import LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Key, Op, Resource, Rule
from deployctl.deploy.resources.base import ResourceKind, same_text

_FIELDS = ("description", "enabled", "tags", "trigger", "actions")


class Automations(ResourceKind):
    """Children of a deployment, keyed by flow, deployment and the automation's name."""

    name = "automation"
    depth = 3
    rank = 4
    parent = "deployment"

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """Whether an automation is enabled belongs to the UI unless the file says it."""
        rules = {
            "description": Rule(same_text, default=""),
            "enabled": Rule(default=True),
            "tags": Rule(default=[]),
            "trigger": Rule(_says),
            "actions": Rule(_same_actions),
        }
        return {name: rule for name, rule in rules.items() if dialect.accepts("automation", name)}

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:
        """One request; `parent` is the id of the deployment that owns and is run."""
        name = change.key[-1]
        about = f"automation {name}"
        if change.op is Op.DELETE:
            assert change.current is not None
            path = paths.automation(change.current.id)
            yield [Request("DELETE", path, subject=about, missing_ok=True)]
            return change.current.id
        assert change.desired is not None
        body = {"name": name, **change.desired.fields}
        body |= {part.field: part.new for part in change.fields}
        body["actions"] = [_aimed(action, parent) for action in body["actions"]]
        if change.op is Op.CREATE:
            owned = {**body, "owner_resource": f"prefect.deployment.{parent}"}
            return (yield from _create(owned, parent, about))
        assert change.current is not None
        kept = {
            k: v
            for k, v in change.current.raw.items()
            if dialect.accepts("automation", k, "update")
        }
        yield [Request("PUT", paths.automation(change.current.id), {**kept, **body}, subject=about)]
        return change.current.id


def desired_automation(parent: Key, body: Mapping[str, Json]) -> Resource:
    """An automation as `project.triggers` builds it, its actions not yet aimed at an id."""
    fields = {name: body[name] for name in _FIELDS if name in body}
    return Resource("automation", (*parent, body["name"]), fields)


def automation_names(deployments: Sequence[Resource]) -> list[str]:
    """The names of the automations that these deployments have or had."""
    return sorted(
        {
            child.key[-1]
            for item in deployments
            for child in item.children
            if child.kind == "automation"
        }
    )


def current_automations(
    parent: Key, deployment_id: str, answers: Sequence[Json]
) -> tuple[Resource, ...]:
    """Those of `answers` that run the deployment with this id."""
    return tuple(
        Resource(
            "automation",
            (*parent, answer["name"]),
            {name: answer.get(name) for name in _FIELDS},
            id=answer["id"],
            raw=answer,
        )
        for answer in answers
        if _runs(answer, deployment_id)
    )


def _runs(automation: Json, deployment_id: str) -> bool:
    return any(
        action.get("type") == "run-deployment" and action.get("deployment_id") == deployment_id
        for action in automation["actions"]
    )


def _aimed(action: Json, deployment_id: str) -> Json:
    return {**action, "deployment_id": deployment_id}


def _create(body: Json, deployment_id: str, about: str) -> ApiCall[str]:
    request = Request("POST", paths.AUTOMATIONS, body, idempotent=False, subject=about)
    try:
        return str((yield from call(request))["id"])
    except LostResponse:
        listing = {"automations": {"name": {"any_": [body["name"]]}}, "limit": PAGE}
        found = yield from call(
            Request("POST", paths.listing(paths.AUTOMATIONS), listing, subject=about)
        )
        for automation in found:
            if _runs(automation, deployment_id):
                return str(automation["id"])
        return str((yield from call(request))["id"])


def _says(want: Json, have: Json) -> bool:
    """Whether `have` says all that `want` does; the server adds defaults and ids of its own."""
    if isinstance(want, Mapping):
        return isinstance(have, Mapping) and all(
            _says(value, have.get(name)) or (not value and name not in have)
            for name, value in want.items()
        )
    if isinstance(want, list) and isinstance(have, list):
        plain = all(isinstance(value, str) for value in want)
        if plain:
            return sorted(want) == sorted(have)
        return len(want) == len(have) and all(map(_says, want, have))
    return bool(want == have)


def _same_actions(want: Json, have: Json) -> bool:
    return _says([{k: v for k, v in a.items() if k != "deployment_id"} for a in want], have)
