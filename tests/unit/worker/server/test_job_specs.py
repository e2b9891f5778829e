"""Answers of the server that are kept for a moment."""

from __future__ import annotations

from typing import cast

import pytest

from deployctl.api.calls import Request
from deployctl.api.session import Session
from deployctl.core.json_values import Json
from deployctl.worker.model import Run
from deployctl.worker.server.job_specs import KEPT_SECONDS, JobSpecBuilder, TTLCache


class Answers:
    """A session that gives paths back, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def send(self, request: Request) -> Json:
        self.asked.append(request.path)
        return {"path": request.path}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(answers: Answers, clock: Clock) -> TTLCache:
    return TTLCache(cast(Session, answers), clock)


def test_an_answer_is_asked_for_again_when_it_is_out_of_date(
    shelf: TTLCache, answers: Answers, clock: Clock
) -> None:
    for clock.now in (0.0, KEPT_SECONDS - 0.1, KEPT_SECONDS, KEPT_SECONDS + 0.1):
        assert shelf.get("/a", "a") == {"path": "/a"}
    assert answers.asked == ["/a", "/a"]


def test_what_is_out_of_date_takes_no_memory(shelf: TTLCache, clock: Clock) -> None:
    for number in range(100):
        shelf.get(f"/{number}", "it")
        clock.now += 1.0
    assert len(shelf._places) <= KEPT_SECONDS + 1


def test_a_run_has_the_name_that_it_was_claimed_under(shelf: TTLCache, answers: Answers) -> None:
    describer = JobSpecBuilder(
        cast(Session, answers), "w", "3.8.8", {}, {}, {}, shelf, {"r": {"name": "renamed"}}
    )
    run = Run("r", "claimed", "s", "PENDING", "Pending", 0.0, "d", "f", attempt="a")
    assert describer._subject(run).flow_run["name"] == "claimed"
