"""Whether another process works under this worker's name, by the heartbeats that the server gets.

A process worker whose container is recreated comes back with another host name and an empty disk,
so with another owner. No worker looks after the claims of its predecessor then. They may be ended
when the predecessor is known to be gone; until then, its processes may be running. The server keeps
one record for all workers of a name, so a time in it that is not of this process's own heartbeat is
of another one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.driver import run_inline
from deployctl.api.paging import PAGE
from deployctl.api.session import Session

MISSED_HEARTBEATS = 3
"""Intervals without a heartbeat after which a worker counts as gone, as for the server."""


@dataclass(slots=True)
class NameWatch:
    """Watches the record of one worker name."""

    pool: str
    worker: str
    _last: str = ""
    """Time of this process's last heartbeat as the server recorded it; "" if it is not known."""
    _quiet: int = 0
    """Intervals in a row in which there was no other heartbeat."""

    def heartbeat(self, session: Session, send: Callable[[], None]) -> bool:
        """Sends a heartbeat by `send`; returns whether no other process of the name is alive.

        To be called for each heartbeat. If it is not, or fails, or a heartbeat of another process
        is seen, counting begins again. Raises ApiErrors.
        """
        last, self._last = self._last, ""
        recorded = run_inline(read_last_heartbeat(self.pool, self.worker), session)
        self._quiet = self._quiet + 1 if last and recorded == last else 0
        send()
        self._last = run_inline(read_last_heartbeat(self.pool, self.worker), session)
        return self._quiet >= MISSED_HEARTBEATS


def read_last_heartbeat(pool: str, worker: str) -> ApiCall[str]:
    """Returns when the server got the last heartbeat of a worker of this name; "" if never."""
    offset = 0
    while True:
        page = yield from call(
            Request(
                "POST",
                paths.listing(paths.workers(pool)),
                {"limit": PAGE, "offset": offset},
                subject=f"the workers of work pool '{pool}'",
            )
        )
        for record in page:
            if record["name"] == worker:
                return str(record["last_heartbeat_time"] or "")
        if len(page) < PAGE:
            return ""
        offset += PAGE
