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
from deployctl.worker.runtimes import containers, docker
from deployctl.worker.runtimes.docker import DockerRuntime
from tests.support.docker_engine import IMAGE, DockerEngine
from tests.support.runtime_news import watching


@pytest.fixture
def pool(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Iterator[str]:
    """A pool of the test's own; its containers are removed at the end."""
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


def described(pool: str, *deeds: str, attempt: str = "attempt-1", **configuration: Any) -> JobSpec:
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


def test_a_job_runs_to_its_end_and_what_it_prints_is_told(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        assert heard.listed() == []
        started = local.start(described(pool, "print=one", "env=A", "sleep=1", "print=last"))
        ended = heard.job(Phase.SUCCEEDED)
        assert (ended.run, ended.attempt, ended.name, ended.worker, ended.pid) == (
            "run-1",
            "attempt-1",
            "job-attempt-1",
            "w",
            started.pid,
        )
        assert ended.limits == Limits(stream_output=True, start_timeout=7.0)
        assert ended.since > started.since
        assert heard.lines == ["one", "its", "last"]
        assert local.tail_logs(ended, 2) == ["its", "last"]
    labels = docker_engine.client.containers.get(ended.name).labels
    assert labels["io.prefect.flow-name"] == "f"


@pytest.mark.parametrize(
    ("deeds", "configuration", "cause"),
    [
        (["exit=1"], {}, "ExitCode"),
        (["exit=143"], {}, "Terminated"),
        (["eat=200"], {"mem_limit": "20m", "memswap_limit": "20m"}, "OutOfMemory"),
    ],
)
def test_a_failed_job_says_why(
    docker_engine: DockerEngine, pool: str, deeds: list[str], configuration: Any, cause: str
) -> None:
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        local.start(described(pool, *deeds, **configuration))
        heard.until(lambda news: isinstance(news, JobChanged) and _cause(news.job) == cause)


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
def test_what_the_engine_refuses_fails_at_once_with_its_reason(
    docker_engine: DockerEngine, pool: str, changes: Any, cause: str
) -> None:
    with runtime(docker_engine, pool) as local, pytest.raises(StartFailed) as refused:
        local.start(described(pool, **changes))
    assert refused.value.cause.code == cause
    assert docker_engine.client.containers.list(all=True) == []


def test_where_pulling_is_only_tried_an_image_that_is_there_will_do(
    docker_engine: DockerEngine, pool: str
) -> None:
    docker_engine.client.images.get(IMAGE).tag("nowhere.invalid/box", "1")
    wanted = {"image": "nowhere.invalid/box:1", "image_pull_policy": "IfPossible"}
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        local.start(described(pool, **wanted))
        heard.job(Phase.SUCCEEDED)


def test_a_container_is_in_all_its_networks_before_it_starts(
    docker_engine: DockerEngine, pool: str
) -> None:
    names = ["first", "second"]
    networks = [docker_engine.client.networks.create(name, internal=True) for name in names]
    with runtime(docker_engine, pool) as local:
        job = local.start(described(pool, "sleep=60", networks=names, network_mode=None))
        container = docker_engine.client.containers.get(job.name)
        assert sorted(container.attrs["NetworkSettings"]["Networks"]) == names
        container.remove(force=True)
    for network in networks:
        network.remove()


def test_a_command_that_the_image_does_not_have_fails_and_leaves_no_container(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as local, pytest.raises(StartFailed) as refused:
        local.start(replace(described(pool), command=("prefect",)))
    assert refused.value.cause.code == "CommandNotFound"
    assert docker_engine.client.containers.list(all=True) == []


def test_an_attempt_is_started_once(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        local.start(described(pool, "print=ran"))
        ended = heard.job(Phase.SUCCEEDED)
        assert local.start(described(pool, "print=ran")) == ended
        assert local.find("attempt-1") == ended
        assert local.find("attempt-2") is None
        local.finish_setup(ended)
        assert local.tail_logs(ended, 10) == ["ran"]
    assert len(docker_engine.client.containers.list(all=True)) == 1


def test_a_container_of_the_same_name_that_is_not_ours_is_left_alone(
    docker_engine: DockerEngine, pool: str
) -> None:
    docker_engine.client.containers.create(IMAGE, "/box", name="job-attempt-1", network_mode="none")
    with runtime(docker_engine, pool) as local:
        assert local.find("attempt-1") is None
        with pytest.raises(StartFailed, match="not of this run"):
            local.start(described(pool))


def test_a_container_that_was_created_and_not_started_is_started_by_the_next_worker(
    docker_engine: DockerEngine, pool: str
) -> None:
    spec = described(pool, "print=ran")
    settings = containers.create_arguments(spec, folder=Path("/"), linux=True)
    docker_engine.client.containers.create(**settings)
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        [waiting] = heard.listed()
        assert (waiting.phase, waiting.started) == (Phase.WAITING, False)
        local.finish_setup(waiting)
        heard.job(Phase.SUCCEEDED)


def test_jobs_of_a_worker_that_died_are_found_and_their_end_is_told(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as first:
        running = first.start(described(pool, "print=old", "sleep=60"))
        over = first.start(described(pool, "exit=3", attempt="attempt-2"))
        docker_engine.client.containers.get(over.name).wait()
    with runtime(docker_engine, pool) as second, watching(second) as heard:
        found = {job.attempt: job for job in heard.listed()}
        assert found["attempt-1"] == running
        assert found["attempt-2"].phase is Phase.FAILED
        docker_engine.client.containers.get(running.name).kill()
        ended = heard.job(Phase.FAILED)
        assert ended.attempt == "attempt-1"
        assert heard.lines == []


def test_other_pools_are_not_seen(docker_engine: DockerEngine, pool: str) -> None:
    with runtime(docker_engine, "another") as other, runtime(docker_engine, pool) as local:
        other.start(described("another"))
        with watching(local) as heard:
            assert heard.listed() == []


@pytest.mark.parametrize("deeds", [["sleep=60"], ["deaf", "print=up", "sleep=60"]])
def test_a_stopped_job_is_gone_also_one_that_does_not_listen(
    docker_engine: DockerEngine, pool: str, deeds: list[str]
) -> None:
    with runtime(docker_engine, pool, grace=1.0) as local, watching(local) as heard:
        heard.listed()
        job = local.start(described(pool, *deeds))
        local.stop(job)
        heard.until(lambda news: news == JobVanished("attempt-1"))
        local.stop(job)
        assert local.tail_logs(job, 10) == []
        local.finish_setup(job)
    assert docker_engine.client.containers.list(all=True) == []


def test_a_container_with_auto_remove_goes_in_the_end_and_holds_nobody_up(
    docker_engine: DockerEngine, pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise EngineRefused(500, "device or resource busy")

    monkeypatch.setattr(docker, "_AUTO_REMOVE_DELAY", 0.0)
    monkeypatch.setattr(docker, "_LIST_INTERVAL", 0.1)
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        local.start(described(pool, auto_remove=True))
        heard.job(Phase.SUCCEEDED)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "remove", refuse)
            heard.until(lambda news: isinstance(news, JobsListed) and not news.jobs)
        heard.until(lambda news: news == JobVanished("attempt-1"))
    assert docker_engine.client.containers.list(all=True) == []


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # docker-py's, when refused
def test_an_engine_that_is_down_is_asked_again_and_nothing_is_missed(
    docker_engine: DockerEngine, pool: str
) -> None:
    with runtime(docker_engine, pool) as local, watching(local) as heard:
        heard.listed()
        local.start(described(pool, "print=up", "sleep=60"))
        heard.until(lambda news: news == LinePrinted("attempt-1", "up"))
        docker_engine.stop()
        with pytest.raises(RuntimeUnavailable):
            local.start(described(pool, attempt="attempt-2"))
        with pytest.raises(RuntimeUnavailable):
            runtime(docker_engine, pool).__enter__()
        docker_engine.start()
        heard.until(lambda news: _failed(news) == "attempt-1")
        local.start(described(pool, attempt="attempt-2"))
        heard.job(Phase.SUCCEEDED)
    assert [watch.problem for watch in local.watch_statuses()] == [""]
    gc.collect()


def _cause(job: Job) -> str:
    return job.cause.code if job.cause else ""


def _failed(news: object) -> str:
    """The attempt whose failure is told, in whatever way."""
    jobs: tuple[Job, ...] = getattr(news, "jobs", ())
    if isinstance(news, JobChanged):
        jobs = (news.job,)
    return next((job.attempt for job in jobs if job.phase is Phase.FAILED), "")
