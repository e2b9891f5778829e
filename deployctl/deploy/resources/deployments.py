"""Deployments: created by upsert, updated by PATCH where the server accepts every changed field.

The server's behaviour decides the shape of this module:

- POST replaces the fields that are sent, deletes and recreates all schedules, and resets some
  fields that are not sent (`paused` on 2.20). An update by POST therefore repeats the current
  values under the desired ones, schedules included.
- POST and PATCH both delete the future runs that the scheduler has created; it creates new ones.
- PATCH with a pool and no queue moves the deployment to the pool's default queue, and a queue
  without a pool moves it to another pool: the two always travel together.
- A concurrency limit is read back as `global_concurrency_limit.limit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.dialect import Dialect
from deployctl.api.paging import pages
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Key, Op, Resource
from deployctl.deploy.resources import base, schedules
from deployctl.deploy.resources.automations import automation_names, current_automations
from deployctl.deploy.resources.base import ResourceKind, current_fields
from deployctl.project.resources import accepted, accepts
from deployctl.steps.pull import declared_pull


class Deployments(ResourceKind):
    """Keyed by flow and deployment name; schedules and automations are its children."""

    name = "deployment"
    depth = 2
    rank = 7

    def annotate(self, change: Change, dialect: Dialect) -> Change:
        """Notes what an update entails, and keeps the path of code that no step fetches."""
        change = _without_implied_step(change, dialect)
        notes = list(change.notes)
        if change.op is Op.UPDATE:
            has_schedules = any(child.kind == "schedule" for child in _current_children(change))
            if has_schedules and self.by_upsert(change, dialect):
                notes.append("this server accepts the change only if all schedules are recreated")
            if _has_future_runs(change):
                notes.append("its future runs are rescheduled")
        return replace(change, notes=tuple(notes))

    def read(self, desired: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """Flows, deployments and, where there are triggers, automations: in one batch."""
        if not desired:
            return []
        flows = {"name": {"any_": sorted({each.key[0] for each in desired})}}
        names = {"name": {"any_": sorted({each.key[1] for each in desired})}}
        listings: dict[str, ApiCall[list[Json]]] = {
            "flows": pages(paths.FLOWS, {"flows": flows}, len(flows["name"]["any_"])),
            "deployments": pages(
                paths.DEPLOYMENTS,
                {"flows": flows, "deployments": names, "sort": "CREATED_DESC"},
                len(desired),
            ),
        }
        if dialect.has_automations and (named := automation_names(desired)):
            listings["automations"] = pages(
                paths.AUTOMATIONS,
                {"automations": {"name": {"any_": named}}, "sort": "CREATED_DESC"},
                len(named),
            )
        found = yield from gather(listings)
        flow_names = {flow["id"]: flow["name"] for flow in found["flows"]}
        automations = found.get("automations", [])
        keys = {each.key for each in desired}
        current = (
            current_deployment(flow_names[answer["flow_id"]], answer, automations, dialect)
            for answer in found["deployments"]
            if answer["flow_id"] in flow_names
        )
        return [each for each in current if each.key in keys]

    def inline(self, change: Change, dialect: Dialect) -> frozenset[str]:
        """Schedules are part of the body of every POST."""
        by_post = change.op is Op.CREATE or self.by_upsert(change, dialect)
        return frozenset({"schedule"}) if by_post else frozenset()

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates the flow if it doesn't exist, then the deployment; or updates or deletes it."""
        if change.op is Op.DELETE:
            return (yield from base.delete(change, paths.deployment))
        flow, name = change.key
        body = base.body(change)
        if change.current is None:
            owner = yield from call(
                Request("POST", paths.FLOWS, {"name": flow}, subject=f"flow {flow}")
            )
            created = {**body, "name": name, "flow_id": owner["id"]}
            return (yield from _post(change, created, dialect))
        current = change.current.fields
        if body.get("work_pool_name", current["work_pool_name"]) == current["work_pool_name"]:
            body.setdefault("work_queue_name", current["work_queue_name"])
        if self.by_upsert(change, dialect):
            whole = {**_current_body(change.current), **body}
            return (yield from _post(change, whole, dialect))
        if "work_pool_name" not in body:
            body.pop("work_queue_name", None)
        elif dialect.major < 3:
            # Prefect 2 checks job variables against the pool, and none at all as invalid.
            body.setdefault("job_variables", current["job_variables"])
        path, subject = paths.deployment(change.current.id), f"deployment {change.name}"
        sent = accepted(dialect, "deployment", body, "update")
        yield [Request("PATCH", path, sent, subject=subject)]
        return change.current.id

    @staticmethod
    def by_upsert(change: Change, dialect: Dialect) -> bool:
        """Whether an update needs a POST: this server's PATCH refuses one of the changed fields."""
        return change.op is Op.UPDATE and not all(
            accepts(dialect, "deployment", part.field, "update") for part in change.fields
        )


def current_deployment(
    flow: str, answer: Json, automations: Sequence[Json], dialect: Dialect
) -> Resource:
    """A deployment as the server returned it, with the automations that run it."""
    key: Key = (flow, answer["name"])
    fields = current_fields("deployment", answer, dialect)
    fields["job_variables"] = fields["job_variables"] or {}
    fields["concurrency_limit"] = (answer.get("global_concurrency_limit") or {}).get("limit")
    children = (
        *schedules.current_schedules(key, answer.get("schedules") or (), dialect),
        *current_automations(key, answer["id"], automations, dialect),
    )
    return Resource("deployment", key, fields, children, id=answer["id"], raw=answer)


def _without_implied_step(change: Change, dialect: Dialect) -> Change:
    """The change without the step that stands for "no pull steps" on Prefect 2.

    A run needs it only if the deployment has no path either; `flow.deploy` gives it one.
    """
    desired, current = change.desired, change.current
    if dialect.major > 2 or desired is None or current is None:
        return change
    is_implied = desired.fields.get("pull_steps") == declared_pull([], dialect.major)
    if not is_implied or current.fields["pull_steps"] or not current.raw.get("path"):
        return change
    kept = {name: value for name, value in desired.fields.items() if name != "pull_steps"}
    fields = tuple(each for each in change.fields if each.field != "pull_steps")
    is_update = any(each.field not in desired.passive for each in fields)
    return replace(
        change,
        desired=replace(desired, fields=kept),
        fields=fields if is_update else (),
        op=Op.UPDATE if is_update else Op.NONE,
    )


def _current_children(change: Change) -> Sequence[Resource]:
    return change.current.children if change.current else ()


def _has_future_runs(change: Change) -> bool:
    """Whether the server makes runs of the deployment ahead, which an update deletes."""
    schedules = (each for each in _current_children(change) if each.kind == "schedule")
    active = any(each.fields.get("active") is not False for each in schedules)
    return active and not (change.current and change.current.fields.get("paused"))


def _post(change: Change, body: Mapping[str, Json], dialect: Dialect) -> ApiCall[str]:
    """Writes the whole deployment, with all the schedules that it should have."""
    listed = _schedules(change, dialect)
    sent = accepted(dialect, "deployment", {**body, "schedules": listed})
    subject = f"deployment {change.name}"
    answer = yield from call(Request("POST", paths.DEPLOYMENTS, sent, subject=subject))
    yield from schedules.restore_run_limits(answer["id"], listed, answer["schedules"])
    return str(answer["id"])


def _schedules(change: Change, dialect: Dialect) -> list[Json]:
    """All the schedules that the deployment should have, for a body that replaces them."""
    planned = [child for child in change.children if child.kind == "schedule"]
    bodies: list[Mapping[str, Json]] = [
        {**(child.current.fields if child.current else {}), **schedules.body(child)}
        for child in planned
        if child.desired is not None
    ]
    paired = {child.current.id for child in planned if child.current}
    bodies += [
        child.fields
        for child in _current_children(change)
        if child.kind == "schedule" and child.id not in paired
    ]
    return [accepted(dialect, "schedule", each) for each in bodies]


def _current_body(current: Resource) -> dict[str, Json]:
    """The current values of every field that a POST accepts, so that it changes none of them.

    Without the queue, which must belong to the pool.
    """
    raw = {k: v for k, v in current.raw.items() if k not in ("infra_overrides", "work_queue_name")}
    fields = {name: value for name, value in current.fields.items() if name != "work_queue_name"}
    return {**raw, **fields}
