from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deployctl.api.settings import Settings
from deployctl.app import work as module
from deployctl.app.work import Surroundings, work
from deployctl.core.errors import Interrupted
from deployctl.core.stop import Stop
from deployctl.worker.settings import WorkerSettings, WorkOptions
from deployctl.worker.vitals import Monitor, obstacles
from tests.support.kubernetes_jobs import Notes


def test_a_worker_is_not_ready_before_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    @contextmanager
    def served(_host: str, _port: int, monitor: Monitor, _metrics: object) -> Iterator[None]:
        seen.update(obstacles(monitor.vitals(), monitor.clock()))
        yield

    monkeypatch.setattr(module, "HealthServer", served)
    stop = Stop()
    stop.request()
    around = Surroundings(Settings("http://127.0.0.1:9/api"), WorkerSettings(), {}, ())
    with pytest.raises(Interrupted):
        work(WorkOptions("pool", "worker", with_healthcheck=True), around, Notes(), stop)

    assert seen == {"start": "the worker is starting"}
