"""Jobs as containers of a real Docker Engine."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.docker import Engine, EngineRefused
from deployctl.jobs.model import JobSpec, Limits
from deployctl.worker.model import (
    Job,
    JobChanged,
    JobsListed,
    JobVanished,
    LinePrinted,
    Phase,
    RuntimeUnavailable,
    StartFailed,
)
from deployctl.worker.runtimes import containers
from deployctl.worker.runtimes.docker import DockerRuntime
from deployctl.worker.timings import Timings
from tests.support.docker_engine import IMAGE, DockerEngine
from tests.support.runtime_updates import recording


@pytest.fixture
def pool(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[str]:
    """A pool for this test; its containers are removed at the end."""
    yield request.node.name
    for container in docker_engine.client.containers.list(all=True):
        container.remove(force=True)


@contextmanager
def runtime(docker_engine: DockerEngine, pool: str, **options: Any) -> Iterator[DockerRuntime]:
    engine = Engine(docker_engine.url)
    try:
        yield DockerRuntime(engine, pool, folder=Path("/"), linux=True, **options)
    finally:
        engine.close()


def job_spec(pool: str, *deeds: str, attempt: str = "attempt-1", **configuration: Any) -> JobSpec:
    return JobSpec(
        run="run-1",
        attempt=attempt,
        pool=pool,
        name=f"job-{attempt}",
        worker="w",
        configuration={"image": IMAGE, "network_mode": "none", **configuration},
        command=("/box", *deeds),
        env={"A": "its"},
        labels={"prefect.io/flow-name": "f"},
        limits=Limits(stream_output=True, start_timeout=7.0),
    )


def test_job_runs_to_its_end_and_its_output_is_emitted(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        assert recorder.next_list() == []
        started = local.start(job_spec(pool, "print=one", "env=A", "sleep=1", "print=last"))
        ended = recorder.wait_for_phase(Phase.SUCCEEDED)
        assert (ended.run, ended.attempt, ended.name, ended.worker, ended.pid) == (
            "run-1",
            "attempt-1",
            "job-attempt-1",
            "w",
            started.pid,
        )
        assert ended.limits == Limits(stream_output=True, start_timeout=7.0)
        assert ended.since > started.since
        assert recorder.lines == ["one", "its", "last"]
        assert local.tail_logs(ended, 2) == ["its", "last"]
    labels = docker_engine.client.containers.get(ended.name).labels
    assert labels["io.prefect.flow-name"] == "f"


def test_output_is_emitted_only_of_jobs_with_stream_output(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        quiet = job_spec(pool, "print=quiet")
        local.start(replace(quiet, limits=Limits(stream_output=False)))
        recorder.wait_for_phase(Phase.SUCCEEDED)
        local.start(job_spec(pool, "print=loud", attempt="attempt-2"))
        recorder.wait_for(lambda update: isinstance(update, LinePrinted))
        assert recorder.lines == ["loud"]


@pytest.mark.parametrize(
    ("deeds", "configuration", "cause"),
    [
        (["exit=1"], {}, "ExitCode"),
        (["exit=143"], {}, "Terminated"),
        (["eat=200"], {"mem_limit": "20m", "memswap_limit": "20m"}, "OutOfMemory"),
    ],
)
def test_failed_job_has_a_cause(
    docker_engine: DockerEngine, pool: str, deeds: list[str], configuration: Any, cause: str
) -> None:
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        local.start(job_spec(pool, *deeds, **configuration))
        recorder.wait_for(
            lambda update: isinstance(update, JobChanged) and _cause(update.job) == cause
        )


def test_killed_job_has_a_cause_for_the_next_worker(docker_engine: DockerEngine, pool: str) -> None:
    """Which reads the engine's past events, because the state may not say why."""
    with runtime(docker_engine, pool) as before, recording(before) as recorder:
        before.start(job_spec(pool, "exit=137"))
        recorder.wait_for_phase(Phase.FAILED)
    with runtime(docker_engine, pool) as after, recording(after) as recorder:
        (job,) = recorder.next_list()
    assert _cause(job) == "Killed"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"image": "nowhere.invalid/image:1"}, "ImagePull"),
        ({"image": "absent:1", "image_pull_policy": "Never"}, "ImagePull"),
        ({"networks": ["absent"], "network_mode": None}, "StartError"),
        ({"mem_limit": "much"}, "StartError"),
        ({"container_create_kwargs": {"no_such": 1}}, "StartError"),
        ({"volumes": ["relative/path"]}, "StartError"),
    ],
)
def test_refusal_of_the_engine_fails_at_once(
    docker_engine: DockerEngine, pool: str, changes: Any, cause: str
) -> None:
    with runtime(docker_engine, pool) as local, pytest.raises(StartFailed) as refused:
        local.start(job_spec(pool, **changes))
    assert refused.value.cause.code == cause
    assert docker_engine.client.containers.list(all=True) == []


def test_if_possible_falls_back_to_local_image(docker_engine: DockerEngine, pool: str) -> None:
    docker_engine.client.images.get(IMAGE).tag("nowhere.invalid/box", "1")
    variables = {"image": "nowhere.invalid/box:1", "image_pull_policy": "IfPossible"}
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        local.start(job_spec(pool, **variables))
        recorder.wait_for_phase(Phase.SUCCEEDED)


def test_container_joins_all_networks_before_start(docker_engine: DockerEngine, pool: str) -> None:
    names = ["first", "second"]
    networks = [docker_engine.client.networks.create(name, internal=True) for name in names]
    with runtime(docker_engine, pool) as local:
        job = local.start(job_spec(pool, "sleep=60", networks=names, network_mode=None))
        container = docker_engine.client.containers.get(job.name)
        assert sorted(container.attrs["NetworkSettings"]["Networks"]) == names
        container.remove(force=True)
    for network in networks:
        network.remove()


def test_missing_command_leaves_no_container(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, pool) as local, pytest.raises(StartFailed) as refused:
        local.start(replace(job_spec(pool), command=("prefect",)))
    assert refused.value.cause.code == "CommandNotFound"
    assert docker_engine.client.containers.list(all=True) == []


def test_attempt_is_started_once(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        local.start(job_spec(pool, "print=ran"))
        ended = recorder.wait_for_phase(Phase.SUCCEEDED)
        assert local.start(job_spec(pool, "print=ran")) == ended
        assert local.find("attempt-1") == ended
        assert local.find("attempt-2") is None
        local.finish_setup(ended)
        assert local.tail_logs(ended, 10) == ["ran"]
    assert len(docker_engine.client.containers.list(all=True)) == 1


def test_foreign_container_of_the_same_name_is_not_touched(
    docker_engine: DockerEngine, pool: str
) -> None:
    docker_engine.client.containers.create(IMAGE, "/box", name="job-attempt-1", network_mode="none")
    with runtime(docker_engine, pool) as local:
        assert local.find("attempt-1") is None
        with pytest.raises(StartFailed, match="not of this run"):
            local.start(job_spec(pool))


def test_finish_setup_starts_a_created_container(docker_engine: DockerEngine, pool: str) -> None:
    spec = job_spec(pool, "print=ran")
    settings = containers.create_arguments(spec, folder=Path("/"), linux=True)
    docker_engine.client.containers.create(**settings)
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        [waiting] = recorder.next_list()
        assert (waiting.phase, waiting.started) == (Phase.WAITING, False)
        local.finish_setup(waiting)
        recorder.wait_for_phase(Phase.SUCCEEDED)


def test_jobs_of_a_dead_worker_are_adopted(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, pool) as first:
        running = first.start(job_spec(pool, "print=old", "sleep=60"))
        over = first.start(job_spec(pool, "exit=3", attempt="attempt-2"))
        docker_engine.client.containers.get(over.name).wait()
    with runtime(docker_engine, pool) as second, recording(second) as recorder:
        found = {job.attempt: job for job in recorder.next_list()}
        assert found["attempt-1"] == running
        assert found["attempt-2"].phase is Phase.FAILED
        docker_engine.client.containers.get(running.name).kill()
        ended = recorder.wait_for_phase(Phase.FAILED)
        assert ended.attempt == "attempt-1"
        assert recorder.lines == []


def test_other_pools_are_ignored(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, "another") as other, runtime(docker_engine, pool) as local:
        other.start(job_spec("another"))
        with recording(local) as recorder:
            assert recorder.next_list() == []


@pytest.mark.parametrize("deeds", [["sleep=60"], ["ignore_sigterm", "print=up", "sleep=60"]])
def test_stop_removes_container_that_ignores_sigterm(
    docker_engine: DockerEngine, pool: str, deeds: list[str]
) -> None:
    with runtime(docker_engine, pool, grace=1.0) as local, recording(local) as recorder:
        recorder.next_list()
        job = local.start(job_spec(pool, *deeds))
        local.delete(job)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))
        local.delete(job)
        assert local.tail_logs(job, 10) == []
        local.finish_setup(job)
    assert docker_engine.client.containers.list(all=True) == []


def test_auto_remove_is_retried_and_blocks_nothing(
    docker_engine: DockerEngine, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EngineRefused(500, "device or resource busy")

    timings = Timings(auto_remove_delay=0.0, docker_list_interval=0.1)
    with runtime(docker_engine, pool, timings=timings) as local, recording(local) as recorder:
        local.start(job_spec(pool, auto_remove=True))
        recorder.wait_for_phase(Phase.SUCCEEDED)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "remove", refuse)
            recorder.wait_for(lambda update: isinstance(update, JobsListed) and not update.jobs)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))
    assert docker_engine.client.containers.list(all=True) == []


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # docker-py's, when refused
def test_outage_of_the_engine_loses_nothing(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, pool) as local, recording(local) as recorder:
        recorder.next_list()
        local.start(job_spec(pool, "print=up", "sleep=60"))
        recorder.wait_for(lambda update: update == LinePrinted("attempt-1", "up"))
        docker_engine.stop()
        with pytest.raises(RuntimeUnavailable):
            local.start(job_spec(pool, attempt="attempt-2"))
        with pytest.raises(RuntimeUnavailable):
            runtime(docker_engine, pool).__enter__()
        docker_engine.start()
        recorder.wait_for(lambda update: _failed(update) == "attempt-1")
        local.start(job_spec(pool, attempt="attempt-2"))
        recorder.wait_for_phase(Phase.SUCCEEDED)
    assert [watch.problem for watch in local.watch_statuses()] == [""]
    gc.collect()


def _cause(job: Job) -> str:
    return job.cause.code if job.cause else ""


def _failed(update: object) -> str:
    """The attempt whose failure an update contains, in a change or a list."""
    jobs: tuple[Job, ...] = getattr(update, "jobs", ())
    if isinstance(update, JobChanged):
        jobs = (update.job,)
    return next((job.attempt for job in jobs if job.phase is Phase.FAILED), "")
