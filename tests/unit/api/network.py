"""A session on a scripted network: responses come from a list, and waits take no time."""

from __future__ import annotations

import random
import socket
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
    """A JSON response; `Retry_After="7"` sets the header `Retry-After`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=body, headers=named)


_UNKNOWN_NAME = httpx.ConnectError("[Errno -2] Name or service not known")
_UNKNOWN_NAME.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
STARTING: Sequence[Step] = (
    _UNKNOWN_NAME,
    httpx.ConnectError("refused"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    httpx.ReadTimeout("timed out"),
    *map(answer, (502, 503, 404)),
)
"""What a server that is starting answers, from before its name exists."""


@dataclass
class ScriptedNetwork:
    """Responds with the steps in order, and with the last one from then on."""

    steps: Sequence[Step]
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = self.steps[min(len(self.requests), len(self.steps) - 1)]
        self.requests.append(request)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, httpx.Response):
            return httpx.Response(step.status_code, content=step.content, headers=step.headers)
        return step(request)


@dataclass
class RecordingProgress:
    """A progress listener that records every line."""

    lines: list[str] = field(default_factory=list)

    def phase(self, text: str, total: int | None = None) -> None:  # noqa: ARG002
        self.lines.append(text)

    def advance(self, text: str) -> None:
        self.lines.append(text)

    def output(self, source: str, line: str) -> None:  # noqa: ARG002
        self.lines.append(line)


@dataclass
class ScriptedSession:
    """A session, its network, and the seconds that it would have waited."""

    network: ScriptedNetwork
    session: Session
    waits: list[float]
    progress: RecordingProgress


def scripted_session(*steps: Step, **settings: Any) -> ScriptedSession:
    """A session whose server responds with `steps`; its clock shows the time spent waiting."""
    network = ScriptedNetwork(steps)
    waits: list[float] = []
    progress = RecordingProgress()

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return False

    fields = {"api_url": API, "sources": {"api_url": "a test"}, "retry_jitter_factor": 0.0}
    session = Session(
        Settings(**{**fields, **settings}),
        progress=progress,
        wait=wait,
        clock=lambda: sum(waits),
        rng=random.Random(1),
        network=lambda options: HttpClient(options, transport=httpx.MockTransport(network)),
    )
    return ScriptedSession(network, session, waits, progress)
