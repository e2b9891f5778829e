"""Exports deployments that a test made up, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployctl.api.dialect import Dialect
from deployctl.app.deploying.desired_state import PoolInfo
from deployctl.app.exporting.export import ExportedFile, export
from deployctl.app.exporting.reading import ServerState
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.deploy.model import Resource
from deployctl.flows.inspect import inspect_flows
from deployctl.jobs.variables import PoolVariables

FLOWS = '''
from prefect import flow

@flow
def hello(name="world", times=1, config=None):
    """Greets."""
'''
POOLS = {"pool": PoolInfo("process", PoolVariables({"variables": {"properties": {"env": {}}}}))}


def with_schema(current: Resource, schema: Mapping[str, Json]) -> Resource:
    return replace(current, fields={**current.fields, "parameter_openapi_schema": schema})


def exported(
    current: list[Resource], dialect: Dialect, folder: Path
) -> tuple[ExportedFile, Report]:
    report = Report()
    return export(ServerState(dialect, current, POOLS), "exported", folder, report), report


def schema_of_code(folder: Path) -> Mapping[str, Json]:
    """Writes the code of the flow into a folder, and returns its parameter schema."""
    (folder / "flows.py").write_text(FLOWS)
    found = inspect_flows({"flows.py:hello": None}, folder, Report())
    return found["flows.py:hello"].parameter_schema
