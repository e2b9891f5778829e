"""The cache of deployments and flows, and the name of a run in its job spec."""

from __future__ import annotations

from typing import cast

import pytest

from deployctl.api.calls import Request
from deployctl.api.session import Session
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.job_specs import JobSpecBuilder, TTLCache

TTL = 5.0


class EchoSession:
    """A session that answers with the path of each request."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def send(self, request: Request) -> Json:
        self.paths.append(request.path)
        return {"path": request.path}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session() -> EchoSession:
    return EchoSession()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(session: EchoSession, clock: Clock) -> TTLCache:
    return TTLCache(cast(Session, session), TTL, clock)


def test_reads_an_object_again_after_its_ttl(
    cache: TTLCache, session: EchoSession, clock: Clock
) -> None:
    for clock.now in (0.0, TTL - 0.1, TTL, TTL + 0.1):
        assert cache.get("/a", "a") == {"path": "/a"}
    assert session.paths == ["/a", "/a"]


def test_evicts_expired_entries(cache: TTLCache, clock: Clock) -> None:
    for number in range(100):
        cache.get(f"/{number}", "it")
        clock.now += 1.0
    assert len(cache._entries) <= TTL + 1


def test_a_run_keeps_the_name_that_it_was_claimed_under(
    cache: TTLCache, session: EchoSession
) -> None:
    builder = JobSpecBuilder(
        session=cast(Session, session),
        worker="w",
        server_version="3.8.8",
        environ={},
        inherited={},
        pool={},
        cache=cache,
        offered={"r": {"name": "renamed"}},
    )
    run = Run("r", "claimed", "s", "PENDING", "Pending", 0.0, "d", "f", attempt="a")
    assert builder._source(run).flow_run["name"] == "claimed"
