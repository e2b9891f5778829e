"""Simulated Prefect server: the routes that a worker uses to read, claim and report runs.

It has the state rules of both majors; `tests/integration/test_state_rules.py` checks them against
real servers. Requests take no time; each new state advances the clock a little, so that states are
ordered.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from deployctl.api.calls import Request
from deployctl.api.paging import PAGE
from deployctl.api.states import FINAL
from deployctl.core.json_values import Json

POOL = "pool"
FLOW = "flow"
DEPLOYMENT = "deployment"

STATES = (
    "SCHEDULED",
    "PENDING",
    "RUNNING",
    "CANCELLING",
    "CANCELLED",
    "COMPLETED",
    "FAILED",
    "CRASHED",
    "PAUSED",
)
"""All state types."""


class Missing(Exception):
    """The object does not exist: 404."""


@dataclass(slots=True)
class Clock:
    """The one clock of a simulation, in seconds of the epoch."""

    now: float = 1_000_000.0
    step: float = 0.001
    """By how much each new state advances it."""


class Proposed(NamedTuple):
    """A state transition that a client requests."""

    type: str
    name: str
    transition: str = ""
    force: bool = False
    suspends: bool = False
    """Of PAUSED: the process ends, and a worker resumes the run."""


def evaluate(current: Json, pid: str, proposed: Proposed, major: int) -> tuple[str, str]:
    """Return the server's answer to a proposal, and the type of the run's state after it.

    `current`: the run's current state; `pid`: its infrastructure_pid; `major`: 2 or 3.
    """
    kind, new = current["type"], proposed.type
    suspended = current["state_details"].get("pause_reschedule")
    no_job = (kind == "SCHEDULED" and (not pid or current["name"] == "Resuming")) or suspended
    if new == "CANCELLING" and no_job:
        return "REJECT", "CANCELLED"
    if proposed.force:
        return "ACCEPT", new
    if proposed.transition and current["state_details"].get("transition_id") == proposed.transition:
        return "REJECT", kind
    if kind in FINAL and new in ("CANCELLING", "CRASHED", "PAUSED"):
        return "ABORT", kind
    closed = ("CANCELLING",) if major >= 3 else ("CANCELLING", "CANCELLED")
    if kind in closed and new != "CANCELLED":
        return "REJECT", kind
    if new == "PENDING" and kind in ("PENDING", "RUNNING", "CANCELLED"):
        renames = kind == "PENDING" and proposed.name not in ("Pending", current["name"])
        return ("ACCEPT", new) if renames and major >= 3 else ("ABORT", kind)
    if new == "PAUSED" and kind != "RUNNING":
        return "REJECT", kind
    if kind == "PAUSED" and (new == "PENDING" or (new == "CANCELLING" and major < 3)):
        return "REJECT", kind
    return "ACCEPT", new


@dataclass(slots=True)
class SimulatedServer:
    """Flow runs of one deployment in one work pool."""

    clock: Clock
    major: int
    retries: int = 0
    """How often each flow is retried in its process before it is FAILED."""
    rows: dict[str, Json] = field(default_factory=dict)
    states: dict[str, list[Json]] = field(default_factory=dict)
    """Run → all its states, in order; kept when the run is deleted."""
    proposals: int = 0
    """How many transitions were requested."""
    refused: set[str] = field(default_factory=set)
    """Runs whose transitions are all refused."""
    _of_type: dict[str, dict[str, None]] = field(default_factory=lambda: {t: {} for t in STATES})
    """State type → runs in such a state, in the order in which they came into it."""
    _retries_left: dict[str, int] = field(default_factory=dict)
    _ids: int = 0

    def new_id(self) -> str:
        """Return a unique id."""
        self._ids += 1
        return str(UUID(int=self._ids))

    def add_run(self, due: float | None = None) -> str:
        """Add a run that is due at a time, by default since ever; returns its id."""
        run = self.new_id()
        start = None if due is None else datetime.fromtimestamp(due, UTC).isoformat()
        self.rows[run] = {
            "id": run,
            "name": f"run-{self._ids}",
            "deployment_id": DEPLOYMENT,
            "flow_id": FLOW,
            "infrastructure_pid": None,
            "start_time": None,
            "next_scheduled_start_time": start,
            "empirical_policy": {"retry_type": None},
        }
        self._retries_left[run] = self.retries
        self.states[run] = []
        self._write(run, "SCHEDULED", "Scheduled")
        return run

    def answer(self, request: Request) -> Json:
        """Handle a request. Raises Missing for an object that does not exist."""
        url = urlsplit(request.path)
        for method, pattern, reply in self._routes():
            found = re.fullmatch(pattern, url.path)
            if method == request.method and found:
                return reply(*found.groups(), *parse_qs(url.query).values(), request.body)
        raise AssertionError(f"no route for {request.method} {request.path}")

    def _routes(self) -> list[tuple[str, str, Callable[..., Json]]]:
        return [
            ("POST", "/work_pools/[^/]+/get_scheduled_flow_runs", self._due),
            ("POST", "/flow_runs/filter", self._filter),
            ("GET", "/flow_runs/([^/]+)", lambda run, _: dict(self._row(run))),
            ("GET", "/flow_run_states/", lambda runs, _: list(self.states.get(runs[0], ()))),
            ("POST", "/flow_runs/([^/]+)/set_state", self._set_state),
            ("PATCH", "/flow_runs/([^/]+)", lambda run, body: self._row(run).update(body)),
            ("PATCH", "/flow_runs/([^/]+)/labels", lambda run, _: self._row(run) and None),
            ("GET", "/deployments/([^/]+)", lambda name, _: {"id": name}),
            ("POST", "/logs/", lambda _: None),
            ("POST", "/events", lambda _: None),
        ]

    def propose(self, run: str, proposed: Proposed, message: str = "") -> Json:
        """Request a transition; returns the answer. Raises Missing for a deleted run."""
        row = self._row(run)
        before = row["state_type"]
        self.proposals += 1
        if run in self.refused:
            return {"status": "REJECT", "state": dict(row["state"]), "details": {}}
        status, kind = evaluate(row["state"], row["infrastructure_pid"] or "", proposed, self.major)
        if (before, kind) == ("RUNNING", "FAILED") and self._retries_left[run]:
            self._retries_left[run] -= 1
            row["empirical_policy"] = {"retry_type": "in_process"}
            self._write(run, "SCHEDULED", "AwaitingRetry")
            status = "REJECT"
        elif status == "ACCEPT":
            if not proposed.force:
                self._set_retry_type(row, kind)
            self._write(run, kind, proposed.name, message, proposed.transition, proposed.suspends)
        elif kind != before:
            self._write(run, kind, kind.title())
        return {"status": status, "state": dict(self._row(run)["state"]), "details": {}}

    def _set_retry_type(self, row: dict[str, Any], after: str) -> None:
        """Set `retry_type` for a transition, by the rules of both majors."""
        before, rescheduled = row["state_type"], {"retry_type": "reschedule"}
        if before in FINAL and after not in FINAL:
            row["empirical_policy"] = rescheduled if after == "SCHEDULED" else {"retry_type": None}
        elif (before, after) == ("RUNNING", "FAILED"):
            row["empirical_policy"] = {"retry_type": None}
        elif (before, after, self.major) == ("PAUSED", "SCHEDULED", 3) and not row["state"][
            "state_details"
        ]["pause_reschedule"]:
            row["empirical_policy"] = rescheduled

    def is_in_process(self, run: str) -> bool:
        """Return whether only the run's process can take its next step."""
        row = self.rows.get(run)
        if row is None or row["state_type"] == "PAUSED":
            return row is not None and not row["state"]["state_details"]["pause_reschedule"]
        retries = row["empirical_policy"]["retry_type"] == "in_process"
        return bool(row["state_type"] == "SCHEDULED" and retries)

    def delete(self, run: str) -> None:
        """Delete a run, if it exists."""
        if row := self.rows.pop(run, None):
            del self._of_type[row["state_type"]][run]

    def type_of(self, run: str) -> str:
        """Return the type of a run's state; "" if it was deleted."""
        return str(self.rows[run]["state_type"]) if run in self.rows else ""

    def _row(self, run: str) -> dict[str, Any]:
        if run not in self.rows:
            raise Missing(run)
        row: dict[str, Any] = self.rows[run]
        return row

    def _write(
        self,
        run: str,
        kind: str,
        name: str,
        message: str = "",
        transition: str = "",
        suspends: bool = False,
    ) -> None:
        self.clock.now += self.clock.step
        for runs in self._of_type.values():
            runs.pop(run, None)
        self._of_type[kind][run] = None
        state = {
            "id": self.new_id(),
            "type": kind,
            "name": name,
            "message": message,
            "timestamp": datetime.fromtimestamp(self.clock.now, UTC).isoformat(),
            "state_details": {"transition_id": transition or None, "pause_reschedule": suspends},
        }
        retry_type = self.rows[run]["empirical_policy"]["retry_type"]
        self.states[run].append(state | {"in_process": retry_type == "in_process"})
        started = self.rows[run]["start_time"] or (kind == "RUNNING" and state["timestamp"]) or None
        self.rows[run] |= {
            "start_time": started,
            "state": state,
            "state_id": state["id"],
            "state_type": kind,
            "state_name": name,
        }

    def _due(self, body: Json) -> Json:
        """The first page of scheduled runs; Prefect returns their states since 3.9 only."""
        left_out: dict[str, Json] = {} if self.major >= 3 else {"state": None}
        offered = (
            row
            for key in self._of_type["SCHEDULED"]
            if (row := self.rows.get(key))
            and not self.is_in_process(key)
            and (row["next_scheduled_start_time"] or "") <= body["scheduled_before"]
        )
        page = islice(offered, body.get("limit", PAGE))
        return [{"work_pool_id": POOL, "flow_run": row | left_out} for row in page]

    def _filter(self, body: Json) -> Json:
        criteria = body["flow_runs"]
        types = criteria.get("state", {}).get("type", {}).get("any_", STATES)
        ids = criteria.get("id", {}).get("any_")
        in_types = itertools.chain.from_iterable(self._of_type[each] for each in types)
        found = [
            row
            for key in (in_types if ids is None else ids)
            if (row := self.rows.get(key))
            and row["state_type"] in types
            and (row["start_time"] or "start_time" not in criteria)
        ]
        start = body.get("offset", 0)
        return [dict(row) for row in found[start : start + body["limit"]]]

    def _set_state(self, run: str, body: Json) -> Json:
        state = body["state"]
        transition = state["state_details"]["transition_id"]
        proposed = Proposed(state["type"], state["name"], transition, body["force"])
        return self.propose(run, proposed, state["message"])
