"""The lock of a project: only one deploy at a time writes the resources of a project.

The lock is a variable of the Prefect server. Names of variables are unique in every supported
version, so creating one is atomic: it succeeds for one deploy only. The holder renews it. A lock
that was not renewed in time belongs to a dead process and may be taken over. It is renewed and
deleted by the id that was observed, never by its name, so that neither reaches the lock of the next
holder.

A deploy that ends before it is complete leaves its lock and marks it, so that the next one takes it
over at once and knows that what it finds is not what any file declares.

The lock covers what an apply writes. Reading, planning and building need none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.core.errors import Conflict, DeployctlError, LostResponse
from deployctl.core.json_values import Json
from deployctl.deploy.artifacts import artifact_key

_INCOMPLETE = "a deploy ended before it was complete"


class LockLost(DeployctlError):
    """Another deploy took the lock over, because it was not renewed in time."""

    code = "DC525"


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The deploy that holds a lock."""

    id: str
    """The id of the variable, which no other holder has."""
    owner: str
    """A text that names the process and is unique: the variable's value."""
    renewed_at: float
    """Seconds since the epoch, by the server's clock."""

    @property
    def is_incomplete(self) -> bool:
        """Whether the deploy has ended and left the lock."""
        return self.owner == _INCOMPLETE


def lock_name(project: str) -> str:
    """The name of a project's variable; servers accept lower-case ASCII, digits and underscores."""
    return f"{artifact_key(project)}-lock".replace("-", "_")


def acquire_lock(project: str, owner: str, *, is_held: bool = False) -> ApiCall[LockHolder | None]:
    """Tries once to acquire the lock, and returns who holds it: `owner` if that succeeded.

    None if it was released in the meantime. `is_held`: it was held a moment ago, so it is read
    before it is created. Raises ApiError if the server can't create the variable.
    """
    if is_held and (holder := (yield from _read_holder(project))):
        return holder
    body = {"name": lock_name(project), "value": owner, "tags": ["deployctl"]}
    request = Request("POST", paths.VARIABLES, body, idempotent=False, subject=_about(project))
    try:
        return _holder((yield from call(request)))
    except Conflict:
        return (yield from _read_holder(project))
    except LostResponse:
        if holder := (yield from _read_holder(project)):
            return holder
        return _holder((yield from call(request)))


def renewal(project: str, holder: LockHolder) -> Request:
    """The request that renews the lock; the answer is 404 if another deploy has it."""
    body = {"value": holder.owner}
    return Request("PATCH", paths.variable(holder.id), body, subject=_about(project))


def release(project: str, holder: LockHolder) -> Request:
    """The request that deletes the lock of this holder; the answer is 404 if it is gone."""
    return Request("DELETE", paths.variable(holder.id), subject=_about(project))


def leave(project: str, holder: LockHolder) -> Request:
    """The request that leaves the lock of this holder to the next deploy, marked as incomplete."""
    body = {"value": _INCOMPLETE}
    return Request("PATCH", paths.variable(holder.id), body, subject=_about(project))


def _read_holder(project: str) -> ApiCall[LockHolder | None]:
    path = paths.variable_by_name(lock_name(project))
    answer = yield from call(Request("GET", path, missing_ok=True, subject=_about(project)))
    return _holder(answer) if answer else None


def _holder(variable: Json) -> LockHolder:
    renewed_at = datetime.fromisoformat(variable["updated"]).timestamp()
    return LockHolder(variable["id"], str(variable["value"]), renewed_at)


def _about(project: str) -> str:
    return f"lock of {project}"
