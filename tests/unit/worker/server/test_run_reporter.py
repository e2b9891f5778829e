from __future__ import annotations

from typing import cast

import pytest

from deployctl.api.calls import Request
from deployctl.api.dialect import Dialect
from deployctl.api.session import Session
from deployctl.core.errors import DeployctlError, Rejected, ServerError, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.model import Job, Phase, Run
from deployctl.worker.server.events import Worker
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.run_reporter import RunReporter
from tests.support.kubernetes_jobs import RecordingEventLog

RUNS = [Run(f"r{n}", f"fox-{n}", "s", "PENDING", "Pending", 0.0, "d", "f") for n in range(3)]
JOB = Job("r", "a", "job", "flows", "flows:job", "w", Phase.WAITING, 0.0)


class Recorded:
    """A session whose labels fail as `errors` say, one after the other."""

    def __init__(self, *errors: DeployctlError | None) -> None:
        self.errors = list(errors)
        self.labelled: list[str] = []

    def send(self, request: Request, *, finish: bool = False) -> Json:
        assert finish
        if request.path.endswith("/labels"):
            self.labelled.append(request.path.split("/")[2])
            if self.errors and (error := self.errors.pop(0)):
                raise error


class Hearing:
    """A session for events; the request with this number, from 0, finds nobody there."""

    def __init__(self, fails: int = -1) -> None:
        self.fails = fails
        self.requests: list[list[Json]] = []

    def send(self, request: Request, *, finish: bool = False) -> Json:
        assert finish
        self.requests.append(request.body)
        if len(self.requests) == self.fails + 1:
            raise Unreachable("gone")


def chronicle(
    session: Recorded | Hearing, version: tuple[int, int, int] = (3, 8, 8)
) -> RunReporter:
    return RunReporter(
        session=cast(Session, session),
        dialect=Dialect(version),
        logs=FlowLogs(session.send, lambda: 0.0, enabled=False),
        worker=Worker("w", "kubernetes", "pool-id", "pool"),
        owner="o",
        event_log=RecordingEventLog(),
        clock=lambda: 0.0,
    )


def test_labels_wait_until_nobody_is_kept_waiting_by_them() -> None:
    session = Recorded()
    told = chronicle(session)
    for run in RUNS:
        told.submitted(run, JOB)
    assert session.labelled == []
    told.flush()
    told.flush()
    assert session.labelled == ["r0", "r1", "r2"]


def test_prefect_2_knows_no_labels() -> None:
    session = Recorded()
    told = chronicle(session, (2, 20, 26))
    told.submitted(RUNS[0], JOB)
    told.flush()
    assert session.labelled == []


@pytest.mark.parametrize("error", [Unreachable("gone"), ServerError("500")])
def test_a_server_that_is_away_gets_them_later(error: DeployctlError) -> None:
    session = Recorded(None, error)
    told = chronicle(session)
    for run in RUNS:
        told.submitted(run, JOB)
    told.flush()
    assert session.labelled == ["r0", "r1"]
    told.flush()
    assert session.labelled == ["r0", "r1", "r1", "r2"]


def test_a_label_that_is_refused_is_not_sent_again() -> None:
    session = Recorded(Rejected("403"))
    told = chronicle(session)
    told.submitted(RUNS[0], JOB)
    told.flush()
    told.flush()
    assert session.labelled == ["r0"]


def test_events_are_sent_in_order_and_a_few_hundred_at_a_time() -> None:
    session = Hearing()
    told = chronicle(session)
    for number in range(450):
        told.notice(number)
    told.flush()
    assert [number for request in session.requests for number in request] == [*range(450)]
    assert max(map(len, session.requests)) <= 200


def test_a_server_that_is_away_costs_the_events_of_one_request() -> None:
    session = Hearing(fails=1)
    told = chronicle(session)
    for number in range(450):
        told.notice(number)
    told.flush()
    assert len(session.requests) == 2
    told.flush()
    assert session.requests[2:] == [[*range(400, 450)]]
