"""What several users of one session share, and what they learn of its errors."""

from __future__ import annotations

import httpx
import pytest

from deployctl.api.calls import Request
from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.clients.http import HttpClient
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted, NotFound
from tests.unit.api.network import API, ScriptedNetwork, answer, scripted_session

READ = Request("GET", "/flows/1", subject="flow hello")


def test_a_scope_of_a_session_is_cancelled_by_itself() -> None:
    client = scripted_session(answer(200, 1))
    stop = CancellationToken()
    scope = client.session.scoped(stop)
    assert scope.send(READ) == 1
    stop.cancel()
    with pytest.raises(Interrupted):
        scope.send(READ)
    assert client.session.send(READ) == 1
    assert client.session.scoped(CancellationToken()).send(READ) == 1


def test_each_failed_attempt_is_counted_also_if_a_retry_succeeds() -> None:
    statuses: list[int | None] = []
    network = ScriptedNetwork(
        [httpx.ConnectError("refused"), answer(503), answer(200, 1), answer(404)]
    )
    session = Session(
        Settings(api_url=API),
        wait=lambda _seconds: False,
        network=lambda options: HttpClient(options, transport=httpx.MockTransport(network)),
        on_error=statuses.append,
    )
    assert session.send(READ) == 1
    with pytest.raises(NotFound):
        session.send(READ)
    assert statuses == [None, 503, 404]
