"""The pull steps of a deployment, above all of one that names none: where the code is found.

Prefect's rules, with one difference that we want: where an image is named, or built from the
project's own Dockerfile, the code is in the image's own working directory. Prefect 3 assumes
`/opt/prefect` instead, and Prefect 2 the folder of whoever deployed; neither need exist there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json
from deployctl.steps.catalog import is_docker_build
from deployctl.steps.model import Step
from deployctl.templating.problems import Problem

_CONTAINERS = frozenset(
    {
        "azure-container-instance",
        "cloud-run",
        "cloud-run-v2",
        "docker",
        "ecs",
        "kubernetes",
        "vertex-ai",
    }
)
"""Types of work pools whose runs do not see the file system of the worker."""


def default_pull(
    build: Iterable[Step], job_variables: Mapping[str, Json], folder: Path, pool_type: str = ""
) -> tuple[list[Json], list[Problem]]:
    """The pull steps where neither the deployment nor the file says anything.

    `folder` is where deployctl runs. The problem (DC325) is a warning, for code that no container
    will find.
    """
    builds = [step for step in build if is_docker_build(step)]
    if builds:
        generated = builds[0].inputs.get("dockerfile") == "auto"
        return [_set_directory(f"/opt/prefect/{folder.name}" if generated else ".")], []
    if job_variables.get("image"):
        return [_set_directory(".")], []
    problems = [_not_there(folder, pool_type)] if pool_type in _CONTAINERS else []
    return [_set_directory(str(folder.absolute()))], problems


def declared_pull(pull: Json, major: int) -> list[Json]:
    """The pull steps that a file gives: a list, or the single step that stands for one.

    `major` is the server's. Runs of Prefect 2 fail without any pull step; there, the step that
    stays where the run starts means none.
    """
    steps = pull if isinstance(pull, list) else [pull]
    steps = [step for step in steps if step]
    return steps or ([_set_directory(".")] if major < 3 else [])


def _set_directory(directory: str) -> Json:
    return {"prefect.deployments.steps.set_working_directory": {"directory": directory}}


def _not_there(folder: Path, pool_type: str) -> Problem:
    return Problem(
        (),
        "DC325",
        f"runs on a {pool_type} work pool will look for the code in '{folder}', the folder of this "
        "machine",
        "name an image that holds the code (job_variables.image), or say with 'pull:' how to "
        "fetch it",
        Severity.WARNING,
    )
