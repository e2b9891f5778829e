"""How a job of ours is known again: by labels and one annotation, in every runtime.

They are set last, so that no label of a user's stands in their place.
"""

from __future__ import annotations

import json
from functools import lru_cache

from deployctl.core.json_values import digest
from deployctl.jobs.model import JobSpec, Limits

POOL = "deployctl.io/pool-id"
RUN = "deployctl.io/run-id"
ATTEMPT = "deployctl.io/attempt"
OWNER = "deployctl.io/owner"
"""Tells the jobs of a worker from those of one that serves the same pool from another namespace."""

METADATA_ANNOTATION = "deployctl.io/job"
"""The annotation that holds what a worker has to know of a job after a restart."""


def labels(description: JobSpec) -> dict[str, str]:
    """The labels that say whose job it is."""
    return {
        POOL: description.pool,
        RUN: description.run,
        ATTEMPT: description.attempt,
    }


def owned(owner: str) -> dict[str, str]:
    """The label that says who answers for a job (`Runtime.owner`), who may be longer than it."""
    return {OWNER: digest(owner)[:16]}


def encode_metadata(description: JobSpec) -> str:
    """The value of the annotation: JSON text of the worker's name and the job's limits."""
    limits = description.limits
    return json.dumps(
        {
            "worker": description.worker,
            "start_within": limits.start_within,
            "strict": limits.strict,
            "run_within": limits.run_within,
            "hears_cancel": limits.hears_cancel,
            "stream": limits.stream,
        }
    )


@lru_cache(maxsize=100)
def decode_metadata(text: str | None) -> tuple[str, Limits]:
    """The worker's name and the job's limits from such a text; one that is unreadable limits
    nothing. Thousands of jobs share such a text, and what it says is kept once."""
    try:
        values = json.loads(text or "")
        return str(values.pop("worker")), Limits(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", Limits()
