"""A network that answers from a list, and a session on it that waits for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx

from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.clients.http import HttpClient

API = "http://prefect.test/api"

Step: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


def answer(status: int, body: Any = None, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


@dataclass
class Network:
    """Gives the steps in order; the last one again and again."""

    steps: Sequence[Step]
    seen: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = self.steps[min(len(self.seen), len(self.steps) - 1)]
        self.seen.append(request)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            return httpx.Response(step.status_code, content=step.content, headers=step.headers)
        return step(request)


@dataclass
class Told:
    """A progress listener that keeps what it is told."""

    lines: list[str] = field(default_factory=list)

    def phase(self, text: str, total: int | None = None) -> None:  # noqa: ARG002
        self.lines.append(text)

    def advance(self, text: str) -> None:
        self.lines.append(text)

    def output(self, source: str, line: str) -> None:  # noqa: ARG002
        self.lines.append(line)


@dataclass
class Bench:
    """A session on a network, with the time it would have waited."""

    network: Network
    session: Session
    waits: list[float]
    told: Told


def bench(*steps: Step, **settings: Any) -> Bench:
    network = Network(steps)
    waits: list[float] = []
    told = Told()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    fields = {"api_url": API, "sources": {"api_url": "a test"}, "retry_jitter_factor": 0.0}
    session = Session(
        Settings(**{**fields, **settings}),
        progress=told,
        wait=wait,
        clock=lambda: sum(waits),
        draw=random.Random(1),
        network=lambda connection: HttpClient(connection, transport=httpx.MockTransport(network)),
    )
    return Bench(network, session, waits, told)
