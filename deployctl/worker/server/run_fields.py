"""What makes a run nicer to look at and matters to nothing: no error of these talks is raised.

Each talk gives the error, for whoever wants to tell of it, or None.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.dialect import Dialect, Version
from deployctl.api.states import PENDING
from deployctl.core.errors import ApiError
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, with_marker
from deployctl.worker.server.claims import Proposal, propose

_RENAMES: Version = (3, 6, 22)
"""The first server that lets a PENDING run have another name; before, the change is aborted."""


def label(run: Run, labels: Mapping[str, str]) -> Request:
    """Adds labels to a run, on a server that knows labels (3.x)."""
    return _patch(run, "/labels", labels)


def tell_pid(run: Run, pid: str) -> ApiCall[ApiError | None]:
    """Tells where the run's job is: its infrastructure_pid."""
    try:
        yield from call(_patch(run, "", {"infrastructure_pid": pid}))
    except ApiError as error:
        return error
    return None


def tell_waiting(
    run: Run, owner: str, transition: str, dialect: Dialect
) -> ApiCall[ApiError | None]:
    """Shows a run whose job is there and has not begun as InfrastructurePending.

    The claim's mark goes along: should the run be SCHEDULED again by now, the server takes this as
    a claim, and the mark tells whose it is. A run that has begun stays as it is; one that has ended
    the server would take back to PENDING; and the mark would take over a claim of somebody else. So
    only a run that is known as PENDING under a claim of ours is shown.
    """
    if run.type != PENDING or not run.attempt or dialect.version < _RENAMES:
        return None
    message = with_marker("The job waits for its start.", ClaimMarker(owner, run.attempt, run.name))
    try:
        yield from propose(run, Proposal(PENDING, "InfrastructurePending", message), transition)
    except ApiError as error:
        return error
    return None


def _patch(run: Run, path: str, body: Mapping[str, str]) -> Request:
    return Request(
        "PATCH",
        f"{paths.flow_run(run.id)}{path}",
        dict(body),
        subject=f"flow run '{run.name}'",
        missing_ok=True,
    )
