"""API calls as generators: which requests to send is pure, sending them is the driver's job.

An `ApiCall` yields a batch of requests and receives their responses in the same order. The requests
of one batch are independent of each other, so the driver sends them in parallel. `gather` merges
several calls. A test feeds a call from a list of responses, or stops it before or after request n.

    def read_flow(name: str) -> ApiCall[Json]:
        flow = yield from call(Request("GET", f"/flows/name/{name}", subject=f"flow '{name}'"))
        (runs,) = yield [Request("POST", "/flow_runs/filter", {...})]
        return {**flow, "runs": runs}
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from deployctl.core.json_values import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the Prefect API."""

    method: str
    path: str
    """Relative to the API URL, with a leading slash: `/deployments/filter`."""
    body: Json = None
    idempotent: bool = True
    """Whether the request may be sent again when its response was lost. If not, the driver throws
    `LostResponse` into the call, which reads the server's state before it sends again."""
    subject: str = ""
    """The object that the request is about, for messages: `deployment hello/daily`."""
    missing_ok: bool = False
    """Whether a 404 is a valid response (None) instead of an error."""


ApiCall: TypeAlias = Generator[Sequence[Request], Sequence[Json], T]


def call(request: Request) -> ApiCall[Json]:
    """Sends one request and returns the body of its response."""
    (response,) = yield [request]
    return response


def gather(calls: Mapping[str, ApiCall[T]]) -> ApiCall[dict[str, T]]:
    """Runs calls in lockstep: each batch holds the next requests of all unfinished calls.

    An error that the driver throws ends all of them, which suits reads that are useless in part.
    """
    results: dict[str, T] = {}
    pending: dict[str, Sequence[Request]] = {}
    for name, each in calls.items():
        _advance(name, each, None, pending, results)
    while pending:
        batch = [request for requests in pending.values() for request in requests]
        responses = iter((yield batch))
        for name, requests in list(pending.items()):
            own = [next(responses) for _ in requests]
            _advance(name, calls[name], own, pending, results)
    return {name: results[name] for name in calls}


def _advance(
    name: str,
    each: ApiCall[T],
    responses: Sequence[Json] | None,
    pending: dict[str, Sequence[Request]],
    results: dict[str, T],
) -> None:
    """Advances one call to its next batch (into `pending`) or its result (into `results`)."""
    try:
        pending[name] = next(each) if responses is None else each.send(responses)
    except StopIteration as finished:
        pending.pop(name, None)
        results[name] = finished.value
