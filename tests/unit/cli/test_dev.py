"""Worker threads of `deployctl dev`."""

from __future__ import annotations

import pytest

from deployctl.api.settings import Settings
from deployctl.app.worker import startup
from deployctl.cli import dev
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.server.pool import PoolError

SETTINGS = Settings(api_url="http://127.0.0.1:4200/api")


def test_failed_worker_stops_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise PoolError("the pool needs no worker")

    monkeypatch.setattr(startup, "run_worker", fail)
    stop, waited = CancellationToken(), []
    with (
        pytest.raises(PoolError, match="needs no worker"),
        dev._workers(["one"], SETTINGS, stop, quiet=True),
    ):
        waited.append(stop.wait(30.0))
    assert waited == [True]


def test_project_without_work_pools_starts_no_worker() -> None:
    stop = CancellationToken()
    with dev._workers([], SETTINGS, stop, quiet=True):
        assert not stop.is_cancelled
