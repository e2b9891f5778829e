"""What a worker leaves on a job for whoever finds it after a restart, as JSON text."""

from __future__ import annotations

import json
from dataclasses import asdict

from deployctl.jobs.model import Limits


def write_note(worker: str, limits: Limits) -> str:
    """The note of a job that this worker creates."""
    return json.dumps({"worker": worker, **asdict(limits)})


def read_note(text: str | None) -> tuple[str, Limits]:
    """The worker's name and the job's limits; a note that cannot be read limits nothing."""
    try:
        values = json.loads(text or "")
        return str(values.pop("worker")), Limits(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", Limits()
