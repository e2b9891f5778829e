"""Deployments as servers return them, for tests without a server."""

from __future__ import annotations

from deployctl.api.dialect import Dialect
from deployctl.core.json_values import Json
from deployctl.deploy.desired import deployment
from deployctl.deploy.model import Change, Resource
from deployctl.deploy.plan import compare
from deployctl.deploy.resources.deployments import current_deployment

V3 = Dialect((3, 8, 8))
V3_0 = Dialect((3, 0, 0))
V2 = Dialect((2, 20, 26))

KEY = ("hello", "daily")

SCHEMA = {"title": "Parameters", "type": "object", "properties": {"x": {"title": "x"}}}


def schedule(identity: str, /, **values: Json) -> Json:
    fields = {"active": True, "parameters": {}, "slug": None, "max_scheduled_runs": None}
    return {"id": identity, "created": f"2026-01-01T00:00:0{identity[-1]}Z", **fields, **values}


def cron(identity: str, text: str, /, **values: Json) -> Json:
    said = {"cron": text, "timezone": None, "day_or": True}
    return schedule(identity, schedule=said, **values)


def answer(**values: Json) -> Json:
    """What 3.8.8 returns for a deployment that was created with only a name and a pool."""
    return {
        "id": "d-1",
        "name": "daily",
        "flow_id": "f-1",
        "version": None,
        "description": None,
        "paused": False,
        "schedules": [],
        "concurrency_limit": None,
        "global_concurrency_limit": None,
        "concurrency_options": None,
        "job_variables": {},
        "parameters": {},
        "tags": [],
        "labels": {},
        "work_queue_name": "default",
        "work_pool_name": "pool",
        "parameter_openapi_schema": SCHEMA,
        "pull_steps": None,
        "entrypoint": "a.py:hello",
        "enforce_parameter_schema": True,
        **values,
    }


def live(dialect: Dialect = V3, automations: Json = (), **values: Json) -> Resource:
    return current_deployment("hello", answer(**values), automations, dialect)


NOTHING = frozenset[str]()

CODE = {"entrypoint": "a.py:hello", "parameter_openapi_schema": SCHEMA, "work_pool_name": "pool"}


def change(fields: Json, have: Resource | None, declared: frozenset[str] = NOTHING) -> Change:
    """The change of a deployment that declares `fields`, of which `declared` were applied."""
    want = deployment(KEY, {**CODE, **fields}, None)
    return compare(want, have, lambda kind, _: declared if kind == "deployment" else NOTHING, V3)
