from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deployctl.api.settings import Settings
from deployctl.app.worker import startup as module
from deployctl.app.worker.serving import WorkerContext
from deployctl.app.worker.startup import run_worker
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted
from deployctl.worker.health.health_state import HealthMonitor, readiness_failures
from deployctl.worker.settings import WorkerSettings, WorkOptions
from tests.support.kubernetes_jobs import RecordingEventLog


def test_a_worker_is_not_ready_before_it_has_started(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    @contextmanager
    def served(
        _host: str, _port: int, monitor: HealthMonitor, _metrics: object, _event_log: object
    ) -> Iterator[None]:
        seen.update(readiness_failures(monitor.state(), monitor.clock()))
        yield

    monkeypatch.setattr(module, "HealthServer", served)
    stop = CancellationToken()
    stop.cancel()
    context = WorkerContext(Settings("http://127.0.0.1:9/api"), WorkerSettings(), {}, ())
    with pytest.raises(Interrupted):
        run_worker(
            WorkOptions("pool", "worker", with_healthcheck=True), context, RecordingEventLog(), stop
        )

    assert seen == {"start": "the worker is starting"}
