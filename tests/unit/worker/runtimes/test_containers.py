"""Arguments for containers, and jobs read from containers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.jobs import job_labels
from deployctl.jobs.model import JobSpec, Limits
from deployctl.worker.model import Phase
from deployctl.worker.runtimes.containers import (
    AUTO_REMOVE_LABEL,
    NETWORKS_LABEL,
    container_job,
    create_arguments,
    image_name,
    pull_policy,
)


def job_spec(api_url: str = "", **configuration: Any) -> JobSpec:
    return JobSpec(
        run="run-1",
        attempt="attempt-1",
        pool="pool-1",
        name="name-1",
        worker="w",
        configuration=configuration,
        command=("prefect", "flow-run", "execute"),
        env={"PREFECT_API_URL": api_url} if api_url else {},
        labels={"prefect.io/flow-name": "f", "plain": "p", job_labels.RUN: "not this"},
        limits=Limits(run_timeout=5.0),
        server_version="3.8.8",
    )


def settings(api_url: str = "", *, linux: bool = True, **configuration: Any) -> dict[str, Any]:
    return create_arguments(job_spec(api_url, **configuration), folder=Path("/w"), linux=linux)


@pytest.mark.parametrize(
    ("policy", "image", "holds"),
    [
        (None, "prefecthq/prefect", "Always"),
        (None, "prefecthq/prefect:latest", "Always"),
        (None, "prefecthq/prefect:3", "IfNotPresent"),
        (None, "registry:5000/prefect", "Always"),
        (None, "registry:5000/prefect:1", "IfNotPresent"),
        (None, "prefect@sha256:0123", "IfNotPresent"),
        ("Never", "prefect", "Never"),
        ("IfPossible", "prefect:1", "IfPossible"),
    ],
)
def test_default_pull_policy(policy: str | None, image: str, holds: str) -> None:
    assert pull_policy(policy, image) == holds


def test_default_image() -> None:
    assert image_name(job_spec()) == "prefecthq/prefect:3.8.8-python3.11"
    assert image_name(job_spec(image="mine:1")) == "mine:1"


def test_labels_have_dockers_notation() -> None:
    labels = settings(networks=["a", "b", "c"], auto_remove=True)["labels"]
    assert labels["io.prefect.flow-name"] == "f"
    assert labels["plain"] == "p"
    assert labels[job_labels.RUN] == "run-1"
    assert labels[NETWORKS_LABEL] == "b,c"
    assert labels[AUTO_REMOVE_LABEL] == "true"
    assert NETWORKS_LABEL not in settings(networks=["a"])["labels"]


LOCAL = "http://127.0.0.1:4200/api"
SEEN = "http://host.docker.internal:4200/api"
GATE = {"host.docker.internal": "host-gateway"}


@pytest.mark.parametrize(
    ("api_url", "configuration", "mode", "url", "hosts"),
    [
        (LOCAL, {}, "host", LOCAL, None),
        ("http://localhost:4200/api", {}, "host", "http://localhost:4200/api", None),
        (LOCAL, {"networks": ["n"]}, None, SEEN, GATE),
        (LOCAL, {"network_mode": "bridge"}, "bridge", SEEN, GATE),
        (LOCAL, {"network_mode": "none"}, "none", LOCAL, None),
        (LOCAL, {"network_mode": "container:x"}, "container:x", LOCAL, None),
        (SEEN, {}, None, SEEN, GATE),
        ("https://api.example/api", {}, None, "https://api.example/api", None),
    ],
)
def test_local_api_is_reachable_from_container(
    api_url: str, configuration: Any, mode: str | None, url: str, hosts: Any
) -> None:
    made = settings(api_url, **configuration)
    assert made.get("network_mode") == mode
    assert made["environment"] == {"PREFECT_API_URL": url}
    assert made.get("extra_hosts") == hosts


def test_local_api_with_a_desktop_engine() -> None:
    made = settings(LOCAL, linux=False)
    assert made["environment"] == {"PREFECT_API_URL": SEEN}
    assert "network_mode" not in made
    assert "extra_hosts" not in made


@pytest.mark.parametrize("given", [{"db": "10.0.0.1"}, ["db:10.0.0.1"]])
def test_extra_hosts_are_merged(given: Any) -> None:
    made = settings(SEEN, container_create_kwargs={"extra_hosts": given})
    assert made["extra_hosts"] == {**GATE, "db": "10.0.0.1"}


def test_extra_arguments_are_passed_on_except_auto_remove() -> None:
    made = settings(
        mem_limit="1g", container_create_kwargs={"shm_size": "1g", "auto_remove": True, "name": "x"}
    )
    assert (made["mem_limit"], made["shm_size"], made["name"]) == ("1g", "1g", "name-1")
    assert "auto_remove" not in made


def test_relative_volume_sources_are_made_absolute() -> None:
    volumes = [".:/a", "./b:/b:ro", "../c:/c", "/d:/d", "named:/e", ".hidden:/f", "/g"]
    assert settings(volumes=volumes)["volumes"] == [
        "/w:/a",
        "/w/b:/b:ro",
        "/c:/c",
        "/d:/d",
        "named:/e",
        ".hidden:/f",
        "/g",
    ]


def inspected(status: str, *, memory: int = 0, **state: Any) -> dict[str, Any]:
    times = {"StartedAt": "2026-01-01T00:00:01.123456789Z", "FinishedAt": "2026-01-01T00:00:02Z"}
    return {
        "Id": "0123",
        "Name": "/name-1",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": status, "ExitCode": 0, "OOMKilled": False, **times, **state},
        "Config": {"Labels": settings()["labels"]},
        "HostConfig": {"Memory": memory},
    }


@pytest.mark.parametrize(
    ("container", "phase", "second", "cause"),
    [
        (inspected("created"), Phase.WAITING, 0, ""),
        (inspected("running"), Phase.RUNNING, 1, ""),
        (inspected("paused"), Phase.RUNNING, 1, ""),
        (inspected("exited"), Phase.SUCCEEDED, 2, ""),
        (inspected("exited", ExitCode=1), Phase.FAILED, 2, "ExitCode"),
        (inspected("exited", ExitCode=137, OOMKilled=True), Phase.FAILED, 2, "OutOfMemory"),
        (inspected("exited", ExitCode=128, Error="no device"), Phase.FAILED, 2, "StartError"),
        (inspected("dead", ExitCode=137), Phase.FAILED, 2, "Killed"),
    ],
)
def test_container_job(container: dict[str, Any], phase: Phase, second: int, cause: str) -> None:
    job = container_job(container, "unix:///x")
    assert (job.phase, job.cause.code if job.cause else "") == (phase, cause)
    assert int(job.since) == 1_767_225_600 + second
    assert (job.run, job.attempt, job.name, job.worker) == ("run-1", "attempt-1", "name-1", "w")
    assert (job.pid, job.limits) == ("unix:///x:0123", Limits(run_timeout=5.0))
    assert job.started == (phase is not Phase.WAITING)


def test_exceeded_limit_is_in_the_message() -> None:
    container = inspected("exited", ExitCode=137, OOMKilled=True, memory=20 * 2**20)
    cause = container_job(container, "e").cause
    assert cause
    assert "20 MiB" in cause.message


def test_removing_container_is_deleting() -> None:
    assert container_job(inspected("removing"), "e").deleting
