"""The Dockerfile of `dockerfile: auto`."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.dockerfile.auto import dockerfile, image_directories, prefect_image
from deployctl.images.dockerfile.parser import parse
from deployctl.images.dockerfile.stages import BuildParameters, expand_instructions


def test_equals_the_dockerfile_of_prefect() -> None:
    assert dockerfile("/opt/prefect/etl", prefect="3.8.8", python="3.11", requirements=True) == (
        "FROM prefecthq/prefect:3.8.8-python3.11\n"
        "COPY requirements.txt /opt/prefect/etl/requirements.txt\n"
        "RUN uv pip install -r /opt/prefect/etl/requirements.txt\n"
        "COPY . /opt/prefect/etl/\n"
        "WORKDIR /opt/prefect/etl/\n"
    )


def test_prefect_2_installs_with_pip() -> None:
    text = dockerfile("/opt/prefect/etl", prefect="2.20.26", python="3.12", requirements=True)
    assert "RUN python -m pip install -r /opt/prefect/etl/requirements.txt\n" in text


def test_without_requirements_nothing_is_installed() -> None:
    text = dockerfile("/opt/prefect/etl", prefect="3.8.8", python="3.11", requirements=False)
    assert [line.split()[0] for line in text.splitlines()] == ["FROM", "COPY", "WORKDIR"]


@pytest.mark.parametrize("name", ["my project", "проект", "$HOME", "it's", 'a"b', "a\\b", "[x]"])
def test_any_directory_name_is_escaped(name: str) -> None:
    text = dockerfile(f"/opt/prefect/{name}", prefect="3.8.8", python="3.11", requirements=True)
    parsed = parse(text)
    assert parsed.problems == ()
    given = BuildParameters({}, "linux/amd64", "linux/amd64")
    _, *found = expand_instructions(parsed, parsed.stages, given, {"HOME": "/root"})
    home = f"/opt/prefect/{name}"
    assert [each.words for each in found] == [
        ("requirements.txt", f"{home}/requirements.txt"),
        ("uv", "pip", "install", "-r", f"{home}/requirements.txt"),
        (".", f"{home}/"),
        (f"{home}/",),
    ]


@pytest.mark.parametrize(
    ("version", "image"),
    [
        ("3.8.8", "prefecthq/prefect:3.8.8-python3.11"),
        ("3.9.0rc1", "prefecthq/prefect:3.9.0rc1-python3.11"),
        ("3.8.8+5.gabc1234", "prefecthq/prefect-dev:sha-abc1234-python3.11"),
        ("3.8.8+local", "prefecthq/prefect:3.8.8-python3.11"),
    ],
)
def test_image_of_a_prefect_version(version: str, image: str) -> None:
    assert prefect_image(version, "3.11") == image


@pytest.mark.parametrize(
    ("context", "home", "project"),
    [
        ("/srv/etl", "/opt/prefect/etl", "/opt/prefect/etl"),
        ("/srv/etl/app/src", "/opt/prefect/etl/app/src", "/opt/prefect/etl"),
        ("/srv/etl/app/..", "/opt/prefect/etl", "/opt/prefect/etl"),
        ("/srv", "/opt/prefect/srv", "/opt/prefect/srv/etl"),
        ("/src/clone", "/opt/prefect/clone", "/opt/prefect/clone"),
    ],
)
def test_context_and_project_have_the_same_place_relative_to_each_other(
    context: str, home: str, project: str
) -> None:
    assert image_directories(Path(context), Path("/srv/etl")) == (home, project)
