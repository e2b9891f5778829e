from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.steps.model import Step
from deployctl.steps.pull import declared_pull, default_pull
from deployctl.templating.values import Unknown

FOLDER = Path("/srv/projects/etl")


def docker(**inputs: Any) -> Step:
    return Step("prefect_docker.deployments.steps.build_docker_image", inputs)


def move(directory: str) -> Step:
    return Step("prefect.deployments.steps.set_working_directory", {"directory": directory})


SHELL = Step("prefect.deployments.steps.run_shell_script", {"script": "ls"})


@pytest.mark.parametrize(
    ("build", "job_variables", "pool_type", "directory", "warned"),
    [
        ([], {}, "process", "/srv/projects/etl", False),
        ([], {}, "", "/srv/projects/etl", False),
        ([SHELL], {}, "kubernetes", "/srv/projects/etl", True),
        ([], {}, "docker", "/srv/projects/etl", True),
        ([], {"image": "app:1"}, "kubernetes", ".", False),
        ([], {"image": Unknown("b", "image")}, "kubernetes", ".", False),
        ([], {"image": None}, "kubernetes", "/srv/projects/etl", True),
        ([docker(image_name="app")], {}, "kubernetes", ".", False),
        ([SHELL, docker(dockerfile="prod.Dockerfile")], {}, "kubernetes", ".", False),
        ([docker(dockerfile="auto")], {}, "kubernetes", "/opt/prefect/etl", False),
        ([docker(dockerfile="auto", path="app")], {}, "kubernetes", "/opt/prefect/etl", False),
        (
            [docker(dockerfile="auto", path="..")],
            {},
            "kubernetes",
            "/opt/prefect/projects/etl",
            False,
        ),
        ([move("app"), docker(dockerfile="auto")], {}, "kubernetes", "/opt/prefect/etl", False),
        (
            [move(".."), docker(dockerfile="auto", path="..")],
            {},
            "docker",
            "/opt/prefect/srv/projects/etl",
            False,
        ),
        ([move("{{ a.b }}"), docker(dockerfile="auto")], {}, "docker", "/opt/prefect/etl", False),
        ([docker(dockerfile="auto", path="/src")], {}, "docker", "/opt/prefect/src", False),
        ([docker(dockerfile="auto")], {"image": "app"}, "docker", "/opt/prefect/etl", False),
    ],
)
def test_default_pull_step_finds_the_code(
    build: list[Step],
    job_variables: dict[str, Any],
    pool_type: str,
    directory: str,
    warned: bool,
) -> None:
    steps, problems = default_pull(build, job_variables, FOLDER, pool_type)
    assert steps == [{"prefect.deployments.steps.set_working_directory": {"directory": directory}}]
    assert [problem.code for problem in problems] == ["DC325"] * warned


STAY = {"prefect.deployments.steps.set_working_directory": {"directory": "."}}


@pytest.mark.parametrize(
    ("pull", "major", "steps"),
    [
        ([{"f.g": {}}], 3, [{"f.g": {}}]),
        ({"f.g": {}}, 3, [{"f.g": {}}]),
        ({"f.g": {}}, 2, [{"f.g": {}}]),
        ([], 3, []),
        ({}, 3, []),
        ([None], 3, []),
        ([], 2, [STAY]),
    ],
)
def test_declared_steps_are_a_list_and_prefect_2_gets_at_least_one(
    pull: Any, major: int, steps: Any
) -> None:
    assert declared_pull(pull, major) == steps
