"""A deployment's triggers: automations that the deployment owns, updated in place.

The API doesn't return the owner of an automation and has no filter for it, so a deployment's
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
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import base
from deployctl.deploy.resources.base import ResourceKind, current_resource
from deployctl.project.resources import accepted, declared_fields


class Automations(ResourceKind):
    """Children of a deployment, keyed by flow, deployment and the automation's name."""

    name = "automation"
    depth = 3
    rank = 9
    parent = "deployment"

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:
        """One request; `parent` is the id of the deployment that owns the automation and is run."""
        name = change.key[-1]
        subject = f"automation {name}"
        if change.op is Op.DELETE:
            return (yield from base.delete(change, paths.automation))
        body = {"name": name, **base.body(change)}
        body["actions"] = [{**action, "deployment_id": parent} for action in body["actions"]]
        if change.op is Op.CREATE:
            owned = {**body, "owner_resource": f"prefect.deployment.{parent}"}
            return (yield from _create(owned, parent, subject))
        assert change.current is not None
        path = paths.automation(change.current.id)
        body = {**accepted(dialect, "automation", change.current.raw, "update"), **body}
        yield [Request("PUT", path, body, subject=subject)]
        return change.current.id


def desired_automation(parent: Key, body: Mapping[str, Json]) -> Resource:
    """An automation as `project.triggers` builds it; its actions have no deployment id yet."""
    fields = declared_fields("automation", body)
    return Resource("automation", (*parent, body["name"]), fields)


def automation_names(deployments: Sequence[Resource]) -> list[str]:
    """The names of the automations that these deployments have or had."""
    return sorted(
        {
            child.key[-1]
            for deployment in deployments
            for child in deployment.children
            if child.kind == "automation"
        }
    )


def current_automations(
    parent: Key, deployment_id: str, answers: Sequence[Json], dialect: Dialect
) -> tuple[Resource, ...]:
    """Those of `answers` that run the deployment with this id, oldest first.

    So of two with one name every command keeps the same one.
    """
    return tuple(
        current_resource("automation", (*parent, answer["name"]), answer, dialect)
        for answer in _own(answers, deployment_id)
    )


def _own(answers: Sequence[Json], deployment_id: str) -> list[Json]:
    """The automations that run the deployment, oldest first."""
    own = (each for each in answers if _runs(each, deployment_id))
    return sorted(own, key=lambda each: (each.get("created") or "", each["id"]))


def _runs(automation: Json, deployment_id: str) -> bool:
    return any(
        action.get("type") == "run-deployment" and action.get("deployment_id") == deployment_id
        for action in automation["actions"]
    )


def _create(body: Json, deployment_id: str, subject: str) -> ApiCall[str]:
    """Creates an automation; after a lost response it is looked up before the repeat.

    Names are not unique: if another command creates the same automation at the same time, both keep
    the older one.
    """
    request = Request("POST", paths.AUTOMATIONS, body, idempotent=False, subject=subject)
    try:
        yield [request]
    except LostResponse:
        if not (yield from _twins(body["name"], deployment_id, subject)):
            yield [request]
    found = yield from _twins(body["name"], deployment_id, subject)
    for twin in found[1:]:
        yield [Request("DELETE", paths.automation(twin["id"]), subject=subject, missing_ok=True)]
    return str(found[0]["id"]) if found else ""


def _twins(name: str, deployment_id: str, subject: str) -> ApiCall[list[Json]]:
    """The automations of this name that run the deployment, oldest first."""
    named = {"automations": {"name": {"any_": [name]}}, "limit": PAGE}
    path = paths.listing(paths.AUTOMATIONS)
    found = yield from call(Request("POST", path, named, subject=subject))
    return _own(found, deployment_id)
