"""Conversations with the server as generators: what to ask is pure, sending is somebody else's.

A `Talk` yields batches of requests and is sent the answers in the same order. The requests of one
batch do not depend on each other, so the driver sends them side by side; several talks are merged
by `together`. A test drives a talk with a list of answers, or stops it before or after request n.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from deployctl.core.json_values import Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the Prefect API."""

    method: str
    path: str
    """Below the API URL, with a leading slash: `/deployments/filter`."""
    body: Json = None
    idempotent: bool = True
    """May be sent again when its answer was lost. Where it may not, the driver throws
    `LostResponse` into the talk, which looks at the server before it asks once more."""
    subject: str = ""
    """What the user knows the object as (`deployment hello/daily`), for messages."""
    missing_ok: bool = False
    """A 404 is an answer, None, and not an error."""


ApiCall: TypeAlias = Generator[Sequence[Request], Sequence[Json], T]


def call(request: Request) -> ApiCall[Json]:
    """A talk of one request; gives its answer."""
    (answer,) = yield [request]
    return answer


def gather(talks: Mapping[str, ApiCall[T]]) -> ApiCall[dict[str, T]]:
    """Merges talks step by step: each batch holds what every unfinished one asks next.

    An error that the driver throws ends them all: this is for reading, where half is nothing.
    """
    results: dict[str, T] = {}
    asking: dict[str, Sequence[Request]] = {}
    for name, talk in talks.items():
        _advance(name, talk, None, asking, results)
    while asking:
        batch = [request for requests in asking.values() for request in requests]
        answers = iter((yield batch))
        for name, requests in list(asking.items()):
            mine = [next(answers) for _ in requests]
            _advance(name, talks[name], mine, asking, results)
    return {name: results[name] for name in talks}


def _advance(
    name: str,
    talk: ApiCall[T],
    answers: Sequence[Json] | None,
    asking: dict[str, Sequence[Request]],
    results: dict[str, T],
) -> None:
    try:
        asking[name] = next(talk) if answers is None else talk.send(answers)
    except StopIteration as stop:
        asking.pop(name, None)
        results[name] = stop.value
