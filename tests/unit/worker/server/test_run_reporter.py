"""Labels and events that a worker reports about its runs."""

from __future__ import annotations

from typing import cast

import pytest

from deployctl.api.calls import Request
from deployctl.api.dialect import Dialect
from deployctl.api.session import Session
from deployctl.core.errors import DeployctlError, Rejected, ServerError, Unreachable
from deployctl.core.json_values import Json
from deployctl.worker.model import Job, Phase, Run
from deployctl.worker.server.events import WorkerIdentity
from deployctl.worker.server.flow_logs import FlowLogs
from deployctl.worker.server.run_reporter import RunReporter
from tests.support.kubernetes_jobs import RecordingEventLog

RUNS = [Run(f"r{n}", f"fox-{n}", "s", "PENDING", "Pending", 0.0, "d", "f") for n in range(3)]
JOB = Job("r", "a", "job", "flows", "flows:job", "w", Phase.WAITING, 0.0)


class LabelSession:
    """A session in which requests for labels fail with `errors`, in turn."""

    def __init__(self, *errors: DeployctlError | None) -> None:
        self.errors = list(errors)
        self.labelled: list[str] = []

    def send(self, request: Request, *, finish: bool = False) -> Json:
        assert finish
        if request.path.endswith("/labels"):
            self.labelled.append(request.path.split("/")[2])
            if self.errors and (error := self.errors.pop(0)):
                raise error


class EventSession:
    """A session for events; the request with this number, from 0, fails."""

    def __init__(self, fails: int = -1) -> None:
        self.fails = fails
        self.requests: list[list[Json]] = []

    def send(self, request: Request, *, finish: bool = False) -> Json:
        assert finish
        self.requests.append(request.body)
        if len(self.requests) == self.fails + 1:
            raise Unreachable("gone")


def new_reporter(
    session: LabelSession | EventSession, version: tuple[int, int, int] = (3, 8, 8)
) -> RunReporter:
    return RunReporter(
        session=cast(Session, session),
        dialect=Dialect(version),
        logs=FlowLogs(session.send, lambda: 0.0, enabled=False),
        worker=WorkerIdentity("w", "kubernetes", "pool-id", "pool"),
        owner="o",
        event_log=RecordingEventLog(),
        clock=lambda: 0.0,
    )


def test_labels_are_sent_by_flush() -> None:
    session = LabelSession()
    reporter = new_reporter(session)
    for run in RUNS:
        reporter.job_submitted(run, JOB)
    assert session.labelled == []
    reporter.flush()
    reporter.flush()
    assert session.labelled == ["r0", "r1", "r2"]


def test_sends_no_labels_to_prefect_2() -> None:
    session = LabelSession()
    reporter = new_reporter(session, (2, 20, 26))
    reporter.job_submitted(RUNS[0], JOB)
    reporter.flush()
    assert session.labelled == []


@pytest.mark.parametrize("error", [Unreachable("gone"), ServerError("500")])
def test_labels_wait_while_the_server_is_unavailable(error: DeployctlError) -> None:
    session = LabelSession(None, error)
    reporter = new_reporter(session)
    for run in RUNS:
        reporter.job_submitted(run, JOB)
    reporter.flush()
    assert session.labelled == ["r0", "r1"]
    reporter.flush()
    assert session.labelled == ["r0", "r1", "r1", "r2"]


def test_a_refused_label_is_not_sent_again() -> None:
    session = LabelSession(Rejected("403"))
    reporter = new_reporter(session)
    reporter.job_submitted(RUNS[0], JOB)
    reporter.flush()
    reporter.flush()
    assert session.labelled == ["r0"]


def test_sends_events_in_order_and_in_batches() -> None:
    session = EventSession()
    reporter = new_reporter(session)
    for number in range(450):
        reporter.add_event(number)
    reporter.flush()
    assert [number for request in session.requests for number in request] == [*range(450)]
    assert max(map(len, session.requests)) <= 200


def test_a_failed_request_drops_its_events_only() -> None:
    session = EventSession(fails=1)
    reporter = new_reporter(session)
    for number in range(450):
        reporter.add_event(number)
    reporter.flush()
    assert len(session.requests) == 2
    reporter.flush()
    assert session.requests[2:] == [[*range(400, 450)]]
