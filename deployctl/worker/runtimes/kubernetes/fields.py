"""Fields of Kubernetes objects, read from JSON in which any field may be missing or null."""

from __future__ import annotations

from datetime import datetime

from deployctl.core.json_values import Json
from deployctl.jobs.manifest import MAIN_CONTAINER


def main_container_name(pod: Json) -> str:
    """The name of the container that runs the flow: MAIN_CONTAINER, else the first one."""
    containers = (pod.get("spec") or {}).get("containers") or ()
    names = [str(each.get("name", "")) for each in containers]
    return MAIN_CONTAINER if MAIN_CONTAINER in names or not names else names[0]


def true_condition(status: Json, kind: str) -> Json | None:
    """The condition of this type (`DisruptionTarget`, `Failed`, …), None unless it is `True`."""
    conditions = status.get("conditions") or ()
    true = (each for each in conditions if each.get("status") == "True")
    return next((each for each in true if each.get("type") == kind), None)


def parse_time(text: Json) -> float | None:
    """A timestamp of the API as seconds of the epoch; None for none."""
    return datetime.fromisoformat(text).timestamp() if text else None


def one_line(text: Json) -> str:
    """A message of the cluster without line breaks and repeated spaces; "" for none."""
    return " ".join(str(text or "").split())
