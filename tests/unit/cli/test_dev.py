"""The workers of `deployctl dev`."""

from __future__ import annotations

import pytest

from deployctl.api.settings import Settings
from deployctl.app.worker import startup
from deployctl.cli import dev
from deployctl.core.cancellation import CancellationToken
from deployctl.worker.server.pool import PoolError

SETTINGS = Settings(api_url="http://127.0.0.1:4200/api")


def test_a_worker_that_cannot_work_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_around: object) -> None:
        raise PoolError("it needs no worker")

    monkeypatch.setattr(startup, "run_worker", fail)
    stop, ended = CancellationToken(), []
    with (
        pytest.raises(PoolError, match="needs no worker"),
        dev._workers(["one"], SETTINGS, stop, quiet=True),
    ):
        ended.append(stop.wait(30.0))
    assert ended == [True]


def test_a_project_without_work_pools_needs_no_worker() -> None:
    stop = CancellationToken()
    with dev._workers([], SETTINGS, stop, quiet=True):
        assert not stop.is_cancelled
