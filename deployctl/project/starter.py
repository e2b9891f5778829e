"""Writes the first prefect.yaml of a folder: commented, and valid as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deployctl.project.layout import indented
from deployctl.project.yaml_text import comment_lines, item_lines, mapping_lines, yaml_lines

SCHEMA_FILE = "prefect.schema.json"
_DOCKER = "prefect_docker.deployments.steps"


@dataclass(frozen=True, slots=True)
class FolderContents:
    """What was found in the folder of the new file."""

    name: str
    """The name of the folder, for the project."""
    flows: Mapping[str, str]
    """Entrypoint → name of the flow."""
    has_dockerfile: bool = False
    repository: str = ""
    """URL of the git remote, without credentials; "" without one."""
    branch: str = ""


def starter_text(found: FolderContents, recipe: str) -> str:
    """The text of a prefect.yaml that deploys every flow of the folder once.

    `recipe` is the type of its work pool: kubernetes, docker or process.
    """
    lines = [f"# yaml-language-server: $schema={SCHEMA_FILE}"]
    lines += comment_lines(
        ["Next: deployctl validate, deployctl plan --all, deployctl deploy --all"]
    )
    lines += [*yaml_lines({"name": found.name}), ""]
    lines += comment_lines(["deployctl creates this work pool. Start its worker with:"])
    lines += comment_lines([f"deployctl worker --pool {recipe}"])
    lines += [*yaml_lines({"work_pools": [{"name": recipe, "type": recipe}]}), ""]
    lines += _pull(found) if recipe == "process" else _image(found)
    lines += ["", "deployments:"]
    for entrypoint, name in _names(found.flows).items():
        lines += indented(_deployment(name, entrypoint, recipe), 2)
    return "\n".join(lines) + "\n"


def _names(flows: Mapping[str, str]) -> dict[str, str]:
    """Entrypoint → name of its deployment; flows with one name have the name of their file."""
    used = list(flows.values())
    return {
        entrypoint: "default" if used.count(flow) == 1 else re.sub(r"\W+", "-", entrypoint)
        for entrypoint, flow in flows.items()
    }


def _image(found: FolderContents) -> Iterator[str]:
    """The steps that build and push the image of the runs."""
    dockerfile = "Dockerfile" if found.has_dockerfile else "auto"
    built = {
        "id": "image",
        "image_name": f"registry.example.com/{_image_name(found.name)}",
        "dockerfile": dockerfile,
    }
    pushed = {"image_name": "{{ image.image_name }}", "tag": "{{ image.tag }}"}
    yield from comment_lines(["The image that runs the flows. Name it after your registry."])
    if dockerfile == "auto":
        yield from comment_lines(["Without a Dockerfile, it is Prefect's image with this folder."])
    yield from yaml_lines({"build": [{f"{_DOCKER}.build_docker_image": built}]})
    yield from yaml_lines({"push": [{f"{_DOCKER}.push_docker_image": pushed}]})


def _image_name(folder: str) -> str:
    """The name of a folder in the characters of image names."""
    return re.sub(r"[^a-z0-9._-]+", "-", folder.lower()).strip("-._") or "project"


def _pull(found: FolderContents) -> Iterator[str]:
    """Where runs find the code: here, or in the repository."""
    yield from comment_lines(["Runs find the code in this folder. For a worker elsewhere:"])
    clone = {
        "repository": found.repository or "https://git.example.com/me/project.git",
        "branch": found.branch or "main",
    }
    step = {"prefect.deployments.steps.git_clone": clone}
    yield from (f"# {line}" for line in yaml_lines({"pull": [step]}))


def _deployment(name: str, entrypoint: str, recipe: str) -> list[str]:
    """One entry, with what is often added as a comment."""
    pool: dict[str, object] = {"name": recipe}
    if recipe != "process":
        pool["job_variables"] = {"image": "{{ image.image }}"}
    lines = mapping_lines({"name": name, "entrypoint": entrypoint, "work_pool": pool})
    schedules = yaml_lines({"schedules": [{"cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"}]})
    return item_lines([*lines, *(f"# {line}" for line in schedules), "# parameters: {}"])
