"""What a worker reports about its runs beside their states."""

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

RUN = Run("r", "fox", "s", "PENDING", "Pending", 0.0, "d", "f")
JOB = Job("r", "a", "job", "flows", "flows:job", "w", Phase.WAITING, 0.0)


class JobSession:
    """A session in which the requests of a report fail with `errors`, in turn."""

    def __init__(self, *errors: DeployctlError | None) -> None:
        self.errors = list(errors)
        self.bodies: list[Json] = []

    def send(self, request: Request, *, finish: bool = False) -> Json:  # noqa: ARG002
        self.bodies.append(request.body)
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
    session: JobSession | EventSession, version: tuple[int, int, int] = (3, 8, 8)
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


LOCATION = {"infrastructure_pid": "flows:job"}
LABELS = {
    "prefect.worker.name": "w",
    "prefect.worker.type": "kubernetes",
    "prefect.work-pool.name": "pool",
    "prefect.work-pool.id": "pool-id",
}


@pytest.mark.parametrize(
    ("version", "bodies"), [((3, 8, 8), [LOCATION, LABELS]), ((2, 20, 26), [LOCATION])]
)
def test_reports_location_and_labels_of_a_job(
    version: tuple[int, int, int], bodies: list[Json]
) -> None:
    session = JobSession()
    assert new_reporter(session, version).report_job(RUN, JOB)
    assert session.bodies == bodies


@pytest.mark.parametrize(
    ("errors", "reported"),
    [
        ([Unreachable("gone")], False),
        ([Rejected("422")], False),
        ([None, Unreachable("gone")], False),
        ([None, ServerError("500")], False),
        ([None, Rejected("403")], True),
    ],
)
def test_a_report_is_tried_again_unless_only_its_labels_are_refused(
    errors: list[DeployctlError | None], reported: bool
) -> None:
    assert new_reporter(JobSession(*errors)).report_job(RUN, JOB) is reported


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
