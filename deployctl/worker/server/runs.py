"""Reads flow runs and the history of their states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from sys import intern

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import PAGE
from deployctl.api.states import ACTIVE, CANCELLED, FINAL, PAUSED, PENDING, SCHEDULED
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import ClaimMarker, claim_worker, parse_marker

_CLAIMED = "Pending"
"""Name of the state that a claim creates; Prefect 3's workers rename it as the job proceeds."""


def parse_run(flow_run: Json, owner: str) -> Run:
    """Returns what a worker keeps of a flow run as the API returns it.

    For the scheduled runs of a work pool, Prefect up to 3.8 returns no `state`, only its id, type
    and name.
    """
    state = flow_run.get("state") or {}
    run = Run(
        id=flow_run["id"],
        name=flow_run["name"],
        state_id=flow_run.get("state_id") or "",
        type=flow_run.get("state_type") or "",
        state_name=flow_run.get("state_name") or "",
        since=seconds(state.get("timestamp")),
        deployment=flow_run.get("deployment_id") or "",
        flow=flow_run.get("flow_id") or "",
        pid=flow_run.get("infrastructure_pid") or "",
        queue=intern(flow_run.get("work_queue_id") or ""),
        due=seconds(
            flow_run.get("next_scheduled_start_time") or flow_run.get("expected_start_time")
        ),
        in_process=is_in_process(flow_run),
    )
    if run.type != PENDING or not state:
        return run
    marker = parse_marker(state.get("message"))
    if marker is None and state["name"] != _CLAIMED:
        return run
    return _with_claim(run, state, marker, owner)


def _with_claim(run: Run, claim: Json, marker: ClaimMarker | None, owner: str) -> Run:
    """Returns the run with what its claim says. `claim`: the state; `marker`: that of its
    message."""
    if marker is not None and marker.owner == owner:
        attempt = marker.attempt or str(claim["id"])
        return replace(run, attempt=attempt, name=marker.name or run.name)
    return replace(
        run,
        foreign=True,
        claim_owner=marker.owner if marker else "",
        claim_worker=claim_worker(claim.get("message")),
    )


def is_in_process(flow_run: Json) -> bool:
    """Whether a run waits for a retry or the end of a pause inside its process.

    Both majors record the first in the run's `empirical_policy`, also when the state is replaced
    later (by the process on SIGTERM, by a resume), and offer no such run to a worker. A suspended
    run has no process: `pause_reschedule`.
    """
    if flow_run.get("state_type") == SCHEDULED:
        return (flow_run.get("empirical_policy") or {}).get("retry_type") == "in_process"
    details = (flow_run.get("state") or {}).get("state_details") or {}
    return flow_run.get("state_type") == PAUSED and not details.get("pause_reschedule")


def seconds(timestamp: str | None) -> float:
    """Converts an ISO timestamp to seconds of the epoch; 0.0 for None and ""."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def read_due(
    pool: Json, queues: Sequence[str], before: float, limit: int = PAGE
) -> ApiCall[list[Json]]:
    """Returns the runs that should start by `before` (epoch seconds), in the server's order, at
    most `limit`.

    Empty if another pool has taken the name of `pool` in the meantime.
    """
    moment = datetime.fromtimestamp(before, UTC).isoformat()
    answer = yield from call(
        Request(
            "POST",
            f"{paths.work_pool(pool['name'])}/get_scheduled_flow_runs",
            {"work_queue_names": list(queues), "scheduled_before": moment, "limit": limit},
            subject=f"the scheduled runs of work pool '{pool['name']}'",
        )
    )
    return [row["flow_run"] for row in answer if row["work_pool_id"] == pool["id"]]


def read_active(pool_id: str, owner: str) -> ApiCall[list[Run]]:
    """Returns all active runs of the pool (`Run.is_active`).

    No filter finds retries inside a process, but they have started, as few scheduled runs have.
    """
    rows = yield from _read_in_states(pool_id, [*ACTIVE, PAUSED])
    rows += yield from _read_in_states(pool_id, [SCHEDULED], start_time={"is_null_": False})
    runs = {row["id"]: parse_run(row, owner) for row in rows}
    return [run for run in runs.values() if run.is_active]


def read_unstarted_claims(pool_id: str, owner: str, worker: str) -> ApiCall[list[Run]]:
    """Returns the runs that a worker of this name has claimed and for which no Job is reported."""
    rows = yield from _read_in_states(pool_id, [PENDING])
    own = [row for row in rows if claim_worker((row.get("state") or {}).get("message")) == worker]
    runs = [parse_run(row, owner) for row in own]
    return [run for run in runs if run.attempt and not run.pid]


def _read_in_states(pool_id: str, types: Iterable[str], **more: Json) -> ApiCall[list[Json]]:
    rows: dict[str, Json] = {}
    offset = 0
    while True:
        page = yield from call(
            _filter(
                {"state": {"type": {"any_": list(types)}}, **more},
                work_pools={"id": {"any_": [pool_id]}},
                offset=offset,
            )
        )
        rows.update((row["id"], row) for row in page)
        if len(page) < PAGE:
            return list(rows.values())
        offset += PAGE


def read_by_ids(ids: Iterable[str], owner: str) -> ApiCall[list[Run]]:
    """Returns those of these runs that exist."""
    requests = [_filter({"id": {"any_": chunk}}) for chunk in _chunks(ids)]
    answers = (yield requests) if requests else []
    return [parse_run(row, owner) for page in answers for row in page]


def read_run(run_id: str, owner: str) -> ApiCall[Run | None]:
    """Returns a run; None if it was deleted."""
    answer = yield from call(
        Request("GET", paths.flow_run(run_id), subject=f"flow run '{run_id}'", missing_ok=True)
    )
    return parse_run(answer, owner) if answer else None


def read_states(run_id: str) -> ApiCall[list[Json]]:
    """Returns all states that a run has been in, oldest first."""
    states = yield from call(
        Request(
            "GET",
            paths.flow_run_states(run_id),
            subject=f"the states of flow run '{run_id}'",
        )
    )
    return sorted(states, key=lambda state: seconds(state["timestamp"]))


def resolve_claim(run: Run, owner: str) -> ApiCall[Run]:
    """Returns the run with the attempt and name of its last claim; `foreign` if that is not ours.

    Later states do not carry the marker, but the server keeps all states of a run.
    """
    states = yield from read_states(run.id)
    claims = [s for s in states if (s["type"], s["name"]) == (PENDING, _CLAIMED)]
    if not claims:
        return replace(run, foreign=True)
    return _with_claim(run, claims[-1], parse_marker(claims[-1].get("message")), owner)


def was_scheduled_by_user(run: Run) -> ApiCall[bool]:
    """Returns whether a person or an automation has scheduled a run since its last claim, and not
    its process on SIGTERM alone.

    The state of the process has no message (Prefect 3.4 to 3.9); the UI, `prefect flow-run retry`
    and automations give one. So has a retry in the process, which is `in_process`. Without a
    message, only the end of the run tells: CANCELLED does not count, because a process that is told
    to end may schedule its run after that.
    """
    scheduled = True
    for state in reversed((yield from read_states(run.id))):
        scheduled = scheduled and state["type"] == SCHEDULED
        if scheduled and state.get("message") and not run.in_process:
            return True
        if (state["type"], state["name"]) == (PENDING, _CLAIMED):
            return False
        if state["type"] in FINAL and state["type"] != CANCELLED:
            return True
    return False


def merge_run(old: Run | None, new: Run) -> Run:
    """Returns `new` with what was found out earlier about its claim.

    Only the claim itself carries the marker, and the run may have been claimed again between two
    reads. What was found out therefore holds for the same state only.
    """
    if old is None or new.attempt or new.foreign or old.state_id != new.state_id:
        return new
    return replace(
        new,
        attempt=old.attempt,
        foreign=old.foreign,
        name=old.name,
        claim_owner=old.claim_owner,
        claim_worker=old.claim_worker,
    )


def end_before_claim(run: Run) -> ApiCall[Json]:
    """Returns the final state that a claimed run was in when it was claimed; None if it was
    scheduled.

    Both majors let a run that has ended be claimed, and a claim may arrive late: another worker had
    the same offer, and its job was quick. The claim's timestamp does not help: it is the time of
    arrival, and the server's database may have made the claim wait until after the end.
    """
    states = [state for state in (yield from read_states(run.id)) if state["type"] != PENDING]
    return states[-1] if states and states[-1]["type"] in FINAL else None


def _filter(flow_runs: Json, **more: Json) -> Request:
    return Request(
        "POST",
        paths.listing(paths.FLOW_RUNS),
        {"flow_runs": flow_runs, "limit": PAGE, "sort": "ID_DESC", **more},
        subject="the flow runs of the work pool",
    )


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while chunk := list(islice(rest, PAGE)):
        yield chunk
