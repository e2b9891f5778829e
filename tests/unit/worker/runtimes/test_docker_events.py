"""Events of a Docker engine whose order is not fixed: scripted, since the real order is a race."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from deployctl.clients.docker import Engine
from deployctl.core.cancellation import CancellationToken
from deployctl.jobs import job_labels
from deployctl.worker.model import JobChanged, RuntimeUpdate
from deployctl.worker.runtimes.docker import DockerRuntime

TIME = "2026-01-01T00:00:00Z"
LABELS = {job_labels.RUN: "run", job_labels.ATTEMPT: "attempt"}


class ScriptedEngine:
    """An engine with one container, which was killed; its state never mentions memory."""

    url = "unix:///engine"

    def __init__(self, actions: tuple[str, ...], cancellation: CancellationToken) -> None:
        self._actions = actions
        self._cancellation = cancellation

    def info(self) -> dict[str, Any]:
        return {"ID": "engine", "SystemTime": TIME}

    def containers(self, _labels: object) -> list[Any]:
        return []

    def log(self, _container: str, **_options: object) -> list[str]:
        return []

    def inspect(self, container: str) -> dict[str, Any]:
        state = {"Status": "exited", "ExitCode": 137, "OOMKilled": False, "FinishedAt": TIME}
        config, host = {"Labels": LABELS}, {"Memory": 20 << 20}
        return {
            "Id": container, "Name": "/job", "Created": TIME,
            "State": state, "Config": config, "HostConfig": host,
        }  # fmt: skip

    def events(self, *_: object) -> Iterator[dict[str, Any]]:
        self._cancellation.cancel()
        actor = {"ID": "c1", "Attributes": LABELS}
        yield from ({"Action": action, "Actor": actor} for action in self._actions)


@pytest.mark.parametrize("actions", [("oom", "die"), ("die", "oom")])
def test_out_of_memory_is_the_cause_in_either_order(
    actions: tuple[str, ...], tmp_path: Path
) -> None:
    cancellation = CancellationToken()
    engine = cast("Engine", ScriptedEngine(actions, cancellation))
    runtime = DockerRuntime(engine, "pool", folder=tmp_path, linux=True)
    updates: list[RuntimeUpdate] = []
    runtime.watch(updates.append, cancellation)
    last = updates[-1]
    assert isinstance(last, JobChanged)
    assert last.job.cause is not None
    assert last.job.cause.code == "OutOfMemory"
