"""The pull steps of a deployment: the declared ones, or where its code is found without any.

Prefect's rules, with one intended difference: if an image is declared, or built from the project's
own Dockerfile, the code is in the image's own working directory. Prefect 3 assumes `/opt/prefect`
instead, and Prefect 2 the folder from which it was deployed; neither need exist in the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json
from deployctl.images.dockerfile.auto import image_directories
from deployctl.images.model import AUTO
from deployctl.steps.catalog import builtin_step, is_docker_build
from deployctl.steps.docker import build_context
from deployctl.steps.model import Step
from deployctl.templating.grammar import has_placeholder
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
"""Types of work pools whose runs don't see the file system of the worker."""


def default_pull(
    build: Iterable[Step], job_variables: Mapping[str, Json], folder: Path, pool_type: str = ""
) -> tuple[list[Json], list[Problem]]:
    """The pull steps of a deployment if neither it nor the file declares any.

    `folder` is the working directory of deployctl. The problem (DC325) is a warning about code that
    no container will find.
    """
    if (built := _first_image(build, folder)) is not None:
        step, where = built
        generated = step.inputs.get("dockerfile") == AUTO
        context = build_context(step.inputs, where)
        return [_set_directory(image_directories(context, folder)[1] if generated else ".")], []
    if job_variables.get("image"):
        return [_set_directory(".")], []
    problems = [_code_not_found(folder, pool_type)] if pool_type in _CONTAINERS else []
    return [_set_directory(str(folder.absolute()))], problems


def _first_image(build: Iterable[Step], folder: Path) -> tuple[Step, Path] | None:
    """The first step that builds an image, and the folder in which it runs.

    A folder that only an earlier step will know is taken to be inside the project.
    """
    where = folder
    for step in build:
        known = builtin_step(step)
        if is_docker_build(step):
            return step, where
        if known and known.moves and not has_placeholder(step.inputs.get("directory")):
            where /= str(step.inputs.get("directory") or ".")
    return None


def declared_pull(pull: Json, major: int) -> list[Json]:
    """The declared pull steps: of a list, or a single one.

    `major` is the server's. Runs of Prefect 2 fail without any pull step, so "none" becomes a step
    that stays in the folder where the run starts.
    """
    steps = pull if isinstance(pull, list) else [pull]
    steps = [step for step in steps if step]
    return steps or ([_set_directory(".")] if major < 3 else [])


def _set_directory(directory: str) -> Json:
    return {"prefect.deployments.steps.set_working_directory": {"directory": directory}}


def _code_not_found(folder: Path, pool_type: str) -> Problem:
    return Problem(
        (),
        "DC325",
        f"runs on a {pool_type} work pool will look for the code in '{folder}', a folder of this "
        "machine",
        "Declare an image that holds the code (job_variables.image), or steps under 'pull:' that "
        "fetch it.",
        Severity.WARNING,
    )
