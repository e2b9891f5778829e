"""Labels and the annotation by which a worker recognizes its jobs, in every runtime.

They are applied last, so that a user's label of the same name cannot replace them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache

from deployctl.core.json_values import digest
from deployctl.jobs.model import JobSpec, Limits

POOL = "deployctl.io/pool-id"
RUN = "deployctl.io/run-id"
ATTEMPT = "deployctl.io/attempt"
OWNER = "deployctl.io/owner"
"""Separates the jobs of workers that serve the same pool from different namespaces."""

METADATA_ANNOTATION = "deployctl.io/job"
"""Annotation with what a worker must know about a job after a restart, as JSON."""


def identity_labels(spec: JobSpec) -> dict[str, str]:
    """The labels for work pool, flow run and attempt of a job."""
    return {POOL: spec.pool, RUN: spec.run, ATTEMPT: spec.attempt}


def owner_label(owner: str) -> dict[str, str]:
    """The label for the owner of a job (`Runtime.owner`), hashed: an owner may exceed 63 bytes."""
    return {OWNER: digest(owner)[:16]}


def encode_metadata(spec: JobSpec) -> str:
    """Encodes the value of METADATA_ANNOTATION: the worker's name and the fields of `Limits`."""
    return json.dumps({"worker": spec.worker, **asdict(spec.limits)})


@lru_cache(maxsize=100)
def decode_metadata(text: str | None) -> tuple[str, Limits]:
    """Decodes METADATA_ANNOTATION to the worker's name and the job's limits.

    A missing or invalid annotation gives no name and no limits. Cached, because thousands of jobs
    share the same text: the decoded objects are kept in memory once.
    """
    try:
        values = json.loads(text or "")
        return str(values.pop("worker")), Limits(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", Limits()
