"""Events of a Docker engine whose order is not fixed: scripted, since the real order is a race."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from deployctl.clients.docker import Engine
from deployctl.core.cancellation import CancellationToken
from deployctl.jobs import job_labels
from deployctl.worker.model import JobChanged, JobsListed, RuntimeUpdate
from deployctl.worker.runtimes.docker import DockerRuntime
from deployctl.worker.server.runs import seconds
from deployctl.worker.timings import DEFAULT_TIMINGS

TIME = "2026-01-01T00:00:00Z"
LABELS = {job_labels.RUN: "run", job_labels.ATTEMPT: "attempt"}


class ScriptedEngine:
    """An engine with one container, which was killed; its state never mentions memory."""

    url = "unix:///engine"

    def __init__(
        self,
        actions: tuple[str, ...],
        cancellation: CancellationToken,
        past: tuple[str, ...] | None = None,
    ) -> None:
        """`past`: actions before the first list, which the container is then in."""
        self._actions = actions
        self._cancellation = cancellation
        self._past = past

    def info(self) -> dict[str, Any]:
        return {"ID": "engine", "SystemTime": TIME}

    def containers(self, _labels: object) -> list[Any]:
        return [] if self._past is None else [{"Id": "c1", "Labels": LABELS}]

    def log(self, _container: str, **_options: object) -> list[str]:
        return []

    def inspect(self, container: str) -> dict[str, Any]:
        state = {"Status": "exited", "ExitCode": 137, "OOMKilled": False, "FinishedAt": TIME}
        config, host = {"Labels": LABELS}, {"Memory": 20 << 20}
        return {
            "Id": container, "Name": "/job", "Created": TIME,
            "State": state, "Config": config, "HostConfig": host,
        }  # fmt: skip

    def events(self, _labels: object, since: float, _until: float) -> Iterator[dict[str, Any]]:
        actions = (self._past or ()) if since < seconds(TIME) else self._actions
        if actions is self._actions:
            self._cancellation.cancel()
        actor = {"ID": "c1", "Attributes": LABELS}
        yield from ({"Action": action, "Actor": actor} for action in actions)


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


@pytest.mark.parametrize(
    ("past", "cause", "delay"),
    [
        (("die",), "Killed", DEFAULT_TIMINGS.docker_oom_delay),
        (("die", "oom"), "OutOfMemory", 0.0),
    ],
)
def test_cause_of_a_killed_container_is_settled_before_it_counts_as_ended(
    past: tuple[str, ...], cause: str, delay: float, tmp_path: Path
) -> None:
    cancellation = CancellationToken()
    engine = cast("Engine", ScriptedEngine((), cancellation, past))
    runtime = DockerRuntime(
        engine, "pool", folder=tmp_path, linux=True, clock=lambda: seconds(TIME)
    )
    updates: list[RuntimeUpdate] = []
    runtime.watch(updates.append, cancellation)
    listed = updates[0]
    assert isinstance(listed, JobsListed)
    (job,) = listed.jobs
    assert job.cause is not None
    assert (job.cause.code, job.since - seconds(TIME)) == (cause, delay)
