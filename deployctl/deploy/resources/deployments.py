"""Deployments: created by upsert, updated by PATCH where the server takes every changed field.

What the server does with them decides the shape of this module:

- POST replaces a deployment's fields that are sent, deletes and recreates all its schedules, and
  resets some fields that are not sent (`paused` on 2.20). An update by POST therefore repeats the
  live values under the wanted ones, schedules included.
- POST and PATCH both delete the future runs that the scheduler has made; it makes new ones.
- PATCH with a pool and no queue moves the deployment to the pool's default queue, and a queue
  without a pool moves it to another pool: the two always travel together.
- A concurrency limit is read back as `global_concurrency_limit.limit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call, gather
from deployctl.api.dialect import Dialect, Operation
from deployctl.api.paging import pages
from deployctl.core.json_values import Json
from deployctl.deploy.model import Change, Key, Op, Resource, Rule
from deployctl.deploy.resources import schedules
from deployctl.deploy.resources.automations import automation_names, current_automations
from deployctl.deploy.resources.base import ResourceKind, same_mapping, same_text

FIELDS = (
    "version",
    "description",
    "tags",
    "parameters",
    "enforce_parameter_schema",
    "parameter_openapi_schema",
    "entrypoint",
    "pull_steps",
    "paused",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
    "concurrency_limit",
    "concurrency_options",
)
"""What a file can say about a deployment, by the API's names. `version_info` is sent, not kept."""


class Deployments(ResourceKind):
    """Keyed by flow and deployment name; schedules and automations are its children."""

    name = "deployment"
    depth = 2
    rank = 2

    def rules(self, dialect: Dialect) -> Mapping[str, Rule]:
        """The fields that this server knows at all, with what a create gives them."""
        rules = {
            "version": Rule(),
            "version_info": Rule(same=lambda _want, _have: True),
            "description": Rule(_same_description),
            "tags": Rule(_same_tags, default=[]),
            "parameters": Rule(same_mapping, default={}),
            "enforce_parameter_schema": Rule(default=dialect.major >= 3),
            "parameter_openapi_schema": Rule(same_mapping, default={}),
            "entrypoint": Rule(),
            "pull_steps": Rule(),
            "paused": Rule(default=False),
            "work_pool_name": Rule(clears=dialect.major >= 3),
            "work_queue_name": Rule(default="default"),
            "job_variables": Rule(same_mapping, default={}),
            "concurrency_limit": Rule(),
            "concurrency_options": Rule(_same_options),
        }
        return {name: rule for name, rule in rules.items() if _takes(dialect, name, "create")}

    def annotate(self, change: Change, dialect: Dialect) -> Change:
        """Says what a write entails."""
        notes = list(change.notes)
        if change.op is Op.UPDATE:
            if self.by_upsert(change, dialect):
                notes.append("this server takes the change only with all schedules recreated")
            notes.append("its future scheduled runs are scheduled anew")
        return replace(change, notes=tuple(notes))

    def read(self, wanted: Sequence[Resource], dialect: Dialect) -> ApiCall[list[Resource]]:
        """Flows, deployments and, where triggers are concerned, automations: side by side."""
        if not wanted:
            return []
        flows = {"name": {"any_": sorted({item.key[0] for item in wanted})}}
        names = {"name": {"any_": sorted({item.key[1] for item in wanted})}}
        listings: dict[str, ApiCall[list[Json]]] = {
            "flows": pages(paths.FLOWS, {"flows": flows}, len(flows["name"]["any_"])),
            "deployments": pages(
                paths.DEPLOYMENTS,
                {"flows": flows, "deployments": names, "sort": "CREATED_DESC"},
                len(wanted),
            ),
        }
        if looked_for := automation_names(wanted):
            listings["automations"] = pages(
                paths.AUTOMATIONS,
                {"automations": {"name": {"any_": looked_for}}, "sort": "CREATED_DESC"},
                len(looked_for),
            )
        found = yield from gather(listings)
        flow_names = {flow["id"]: flow["name"] for flow in found["flows"]}
        automations = found.get("automations", [])
        keys = {item.key for item in wanted}
        live = (
            current_deployment(flow_names[answer["flow_id"]], answer, automations, dialect)
            for answer in found["deployments"]
            if answer["flow_id"] in flow_names
        )
        return [item for item in live if item.key in keys]

    def inline(self, change: Change, dialect: Dialect) -> frozenset[str]:
        """Schedules travel in the body of every POST."""
        by_post = change.op is Op.CREATE or self.by_upsert(change, dialect)
        return frozenset({"schedule"}) if by_post else frozenset()

    def write(self, change: Change, parent: str, dialect: Dialect) -> ApiCall[str]:  # noqa: ARG002
        """Creates the flow if need be, then the deployment; or updates the deployment."""
        assert change.desired is not None
        flow, name = change.key
        body = {**change.desired.fields, **{part.field: part.new for part in change.fields}}
        if change.current is None:
            owner = yield from call(
                Request("POST", paths.FLOWS, {"name": flow}, subject=f"flow {flow}")
            )
            return (
                yield from _post(change, {**body, "name": name, "flow_id": owner["id"]}, dialect)
            )
        have = change.current.fields
        if body.get("work_pool_name", have["work_pool_name"]) == have["work_pool_name"]:
            body.setdefault("work_queue_name", have["work_queue_name"])
        if self.by_upsert(change, dialect):
            return (
                yield from _post(change, {**_live_body(change.current, dialect), **body}, dialect)
            )
        if "work_pool_name" not in body:
            body.pop("work_queue_name", None)
        elif dialect.major < 3:  # the server checks them with the pool, and takes none for invalid
            body.setdefault("job_variables", have["job_variables"])
        path, about = paths.deployment(change.current.id), f"deployment {change.name}"
        yield [Request("PATCH", path, _sent(body, dialect, "update"), subject=about)]
        return change.current.id

    @staticmethod
    def by_upsert(change: Change, dialect: Dialect) -> bool:
        """Whether an update needs a POST: this server's PATCH does not take every changed field."""
        return change.op is Op.UPDATE and not all(
            _takes(dialect, part.field, "update") for part in change.fields
        )


def _post(change: Change, body: Mapping[str, Json], dialect: Dialect) -> ApiCall[str]:
    """Writes the deployment as a whole, with all the schedules that it is to have."""
    listed = _schedules(change, dialect)
    sent = _sent({**body, "schedules": listed}, dialect, "create")
    request = Request("POST", paths.DEPLOYMENTS, sent, subject=f"deployment {change.name}")
    answer = yield from call(request)
    yield from schedules.restore_run_limits(answer["id"], listed, answer["schedules"])
    return str(answer["id"])


def _takes(dialect: Dialect, name: str, op: Operation) -> bool:
    return dialect.accepts("deployment", _api_name(name, dialect), op)


def _api_name(name: str, dialect: Dialect) -> str:
    return dialect.job_variables if name == "job_variables" else name


def _sent(body: Mapping[str, Json], dialect: Dialect, op: Operation) -> dict[str, Json]:
    """A body by the API's names, without what this server's operation does not take."""
    return {
        _api_name(name, dialect): value for name, value in body.items() if _takes(dialect, name, op)
    }


def current_deployment(
    flow: str, answer: Json, automations: Sequence[Json], dialect: Dialect
) -> Resource:
    """A deployment as the server answers it, with the automations that run it."""
    key: Key = (flow, answer["name"])
    fields = {name: answer.get(name) for name in FIELDS}
    fields["job_variables"] = answer.get(dialect.job_variables) or {}
    fields["concurrency_limit"] = (answer.get("global_concurrency_limit") or {}).get("limit")
    children = (
        *schedules.current_schedules(key, answer.get("schedules") or ()),
        *current_automations(key, answer["id"], automations),
    )
    return Resource("deployment", key, fields, children, id=answer["id"], raw=answer)


def _schedules(change: Change, dialect: Dialect) -> list[Json]:
    """All the schedules that the deployment is to have, for a body that replaces them."""
    planned = [child for child in change.children if child.kind == "schedule"]
    bodies: list[Mapping[str, Json]] = [
        {**(child.current.fields if child.current else {}), **schedules.body(child)}
        for child in planned
        if child.desired is not None
    ]
    met = {child.current.id for child in planned if child.current}
    bodies += [
        item.fields
        for item in (change.current.children if change.current else ())
        if item.kind == "schedule" and item.id not in met
    ]
    return [{k: v for k, v in body.items() if dialect.accepts("schedule", k)} for body in bodies]


def _live_body(have: Resource, dialect: Dialect) -> dict[str, Json]:
    """The live values of every field that a POST may take, so that it changes none of them.

    Without the queue, which has to fit the pool.
    """
    left_out = (dialect.job_variables, "work_queue_name")
    fields = {name: value for name, value in have.fields.items() if name != "work_queue_name"}
    return {**{k: v for k, v in have.raw.items() if k not in left_out}, **fields}


def _same_tags(want: Json, have: Json) -> bool:
    return sorted(want or []) == sorted(have or [])


def _same_description(want: Json, have: Json) -> bool:
    """`prefect deploy` stores the text "None" where there is no description."""
    return same_text(want, None if have == "None" else have)


def _same_options(want: Json, have: Json) -> bool:
    def said(options: Json) -> dict[str, Json]:
        return {name: value for name, value in (options or {}).items() if value is not None}

    return said(want) == said(have)
