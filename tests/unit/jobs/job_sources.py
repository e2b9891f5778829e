"""Claimed runs and job specs, with the changes that a test makes."""

from __future__ import annotations

from typing import Any

from deployctl.core.json_values import Json
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.job_spec import build_job_spec
from deployctl.jobs.model import JobSource, JobSpec
from deployctl.templating.grammar import PlaceholderKind
from deployctl.templating.references import ReferenceValues

INHERITED = {"PREFECT_API_URL": "http://prefect/api", "PREFECT_API_KEY": "the-key"}
SECRET = {"fields": {"secret_fields": ["value"]}}
LIBRARY = ReferenceValues(
    {
        (PlaceholderKind.BLOCK, ("secret", "token")): {
            "data": {"value": "s3cret"},
            "block_schema": SECRET,
        },
        (PlaceholderKind.BLOCK, ("json", "plain")): {"data": {"value": {"a": "1", "b": {"c": 2}}}},
        (PlaceholderKind.DOCUMENT, ("id-1",)): {"data": {"config": {"x": 1}, "context_name": "c"}},
        (PlaceholderKind.VARIABLE, ("image",)): {"value": "python:3.12"},
        (PlaceholderKind.VARIABLE, ("nope",)): None,
    },
    secrets=True,
)


def job_source(
    deployment: dict[str, Json] | None = None,
    run: dict[str, Json] | None = None,
    *,
    template: Json = None,
    version: str = "3.8.8",
    attempt: str = "attempt-1",
    name: str = "comical-skink",
) -> JobSource:
    """A run of `hello/daily` on a Kubernetes pool."""
    return JobSource(
        flow_run={
            "id": "run-1",
            "name": name,
            "flow_id": "flow-1",
            "deployment_id": "deployment-1",
            "job_variables": run or {},
        },
        deployment={"id": "deployment-1", "name": "daily", "job_variables": deployment or {}},
        flow={"id": "flow-1", "name": "hello"},
        work_pool={
            "id": "pool-1",
            "name": "main",
            "base_job_template": template or base_job_template("kubernetes"),
        },
        attempt=attempt,
        worker_name="worker",
        server_version=version,
    )


def job_spec(*args: Any, **changes: Any) -> JobSpec:
    """The description of `subject(…)`."""
    return build_job_spec(
        job_source(*args, **changes), LIBRARY, environ={"HOME": "/home/me"}, inherited=INHERITED
    )


def manifest_template(manifest: Json, **configuration: Json) -> Json:
    """A template with this job manifest and no variables."""
    return {"job_configuration": {"job_manifest": manifest, **configuration}, "variables": {}}


def pod_of(**container: Json) -> Json:
    """A minimal manifest with this container."""
    return {"spec": {"template": {"spec": {"containers": [container]}}}}
