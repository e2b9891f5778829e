"""Flow runs as the server tells of them, and the questions by which a worker learns of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

from deployctl.api import paths
from deployctl.api.calls import ApiCall, Request, call
from deployctl.api.paging import PAGE
from deployctl.api.states import ACTIVE, FINAL, PENDING
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.claim_marker import parse_marker

_CLAIMED = "Pending"
"""The name of the state that a claim makes; workers of Prefect 3 rename it as the job proceeds."""


def run_of(flow_run: Json, owner: str) -> Run:
    """What a worker keeps of a flow run.

    Of the scheduled runs of a work pool both majors give no `state`, only its id, type and name.
    """
    state = flow_run.get("state") or {}
    attempt, foreign, name = "", False, flow_run["name"]
    if flow_run["state_type"] == PENDING and state:
        mark = parse_marker(state.get("message"))
        if mark and mark.owner == owner:
            attempt, name = mark.attempt or state["id"], mark.name or name
        else:
            foreign = mark is not None or state["name"] == _CLAIMED
    return Run(
        id=flow_run["id"],
        name=name,
        state_id=flow_run.get("state_id") or "",
        type=flow_run.get("state_type") or "",
        state_name=flow_run.get("state_name") or "",
        since=seconds(state.get("timestamp")),
        deployment=flow_run.get("deployment_id") or "",
        flow=flow_run.get("flow_id") or "",
        pid=flow_run.get("infrastructure_pid") or "",
        attempt=attempt,
        foreign=foreign,
    )


def seconds(timestamp: str | None) -> float:
    """A timestamp of the server as seconds of the epoch; 0 where there is none."""
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0


def due(pool: Json, queues: Sequence[str], before: float) -> ApiCall[list[Json]]:
    """The runs that should have begun by `before`, in the order in which the server wants them.

    Of a pool that has taken the name of `pool` meanwhile, nothing is taken.
    """
    moment = datetime.fromtimestamp(before, UTC).isoformat()
    answer = yield from call(
        Request(
            "POST",
            f"{paths.work_pool(pool['name'])}/get_scheduled_flow_runs",
            {"work_queue_names": list(queues), "scheduled_before": moment},
            subject=f"the scheduled runs of work pool '{pool['name']}'",
        )
    )
    return [row["flow_run"] for row in answer if row["work_pool_id"] == pool["id"]]


def active(pool_id: str, owner: str) -> ApiCall[list[Run]]:
    """All runs of the pool that are claimed or running or being cancelled."""
    runs: dict[str, Run] = {}
    offset = 0
    while True:
        page = yield from call(
            _filter(
                {"state": {"type": {"any_": list(ACTIVE)}}},
                work_pools={"id": {"any_": [pool_id]}},
                offset=offset,
            )
        )
        runs.update((row["id"], run_of(row, owner)) for row in page)
        if len(page) < PAGE:
            return list(runs.values())
        offset += PAGE


def by_ids(ids: Iterable[str], owner: str) -> ApiCall[list[Run]]:
    """These runs, as many of them as exist."""
    requests = [_filter({"id": {"any_": chunk}}) for chunk in _chunks(ids)]
    answers = (yield requests) if requests else []
    return [run_of(row, owner) for page in answers for row in page]


def one(run_id: str, owner: str) -> ApiCall[Run | None]:
    """A run as it is now; None if it was deleted."""
    answer = yield from call(
        Request("GET", paths.flow_run(run_id), subject=f"flow run '{run_id}'", missing_ok=True)
    )
    return run_of(answer, owner) if answer else None


def history(run_id: str) -> ApiCall[list[Json]]:
    """All states that a run has been in, oldest first."""
    states = yield from call(
        Request(
            "GET",
            paths.flow_run_states(run_id),
            subject=f"the states of flow run '{run_id}'",
        )
    )
    return sorted(states, key=lambda state: seconds(state["timestamp"]))


def traced(run: Run, owner: str) -> ApiCall[Run]:
    """The run with the attempt under which it was claimed last, and the name that it had then; or
    as a foreign one, if that claim was not ours.

    Later states do not carry the mark, but the server keeps all states of a run.
    """
    states = yield from history(run.id)
    claims = [s for s in states if (s["type"], s["name"]) == (PENDING, _CLAIMED)]
    mark = parse_marker(claims[-1].get("message")) if claims else None
    if mark is None or mark.owner != owner:
        return replace(run, foreign=True)
    return replace(run, attempt=str(claims[-1]["id"]), name=mark.name or run.name)


def end_before_claim(run: Run) -> ApiCall[Json]:
    """The final state that a claimed run was in when it was claimed; None where it was scheduled.

    A server lets a run that has ended be claimed (both majors), and a claim may come late: another
    worker had the same offer, and its job was quick. The claim's own time does not tell: it is when
    the server heard of it, and its database may have made it wait for the end.
    """
    states = [state for state in (yield from history(run.id)) if state["type"] != PENDING]
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
