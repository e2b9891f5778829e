"""Advice for keys that are often written where they have no effect; see `shapes.MovedKey`."""

from __future__ import annotations

from deployctl.project.shapes import MovedKey

UNDER_POOL = "move it one level down, under 'work_pool'"
LIMIT_WITH_STRATEGY = MovedKey("write 'concurrency_limit: {limit: …, collision_strategy: …}'")
IN_DECORATOR = MovedKey("write it into the flow's decorator")


def rename(name: str) -> MovedKey:
    """A key that has another name."""
    return MovedKey(f"write '{name}'", (name,))


def under_pool(name: str, advice: str = "") -> MovedKey:
    """A key of a deployment that belongs under its work pool."""
    return MovedKey(advice or f"write '{name}' under 'work_pool'", ("work_pool", name))


def in_job_variables(name: str) -> MovedKey:
    """A key of a deployment that is a job variable."""
    advice = "write it under 'work_pool', in 'job_variables'"
    return MovedKey(advice, ("work_pool", "job_variables", name))


def in_schedule(name: str, advice: str = "write it in the schedule") -> MovedKey:
    """A key of a deployment that belongs in its only schedule."""
    return MovedKey(advice, ("schedules", 0, name), existing=True)


def as_schedule(name: str) -> MovedKey:
    """A key of a deployment that makes a schedule by itself."""
    advice = f"write it under 'schedules', as '- {name}: …'"
    return MovedKey(advice, ("schedules", 0, name), existing=False)


def in_deployment(name: str) -> MovedKey:
    """A key at the top of the file that belongs in its only deployment."""
    return MovedKey("write it in a deployment", ("deployments", 0, name), existing=True)
