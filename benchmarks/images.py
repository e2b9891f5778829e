"""The time from a changed line of flow code to the image in the registry.

Compares `deployctl build` without an engine with `docker build` and `docker push`, which use
BuildKit where the docker command has its plugin. The registry has the base image (Debian with
Python and Prefect) and an earlier image of the project. Cold: the machine has neither, like a fresh
CI machine. deployctl keeps nothing on the machine, so this makes no difference for it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.row import Ratio, run_time
from tests.support.cluster.images import flow_image
from tests.support.cluster.tools import CACHE
from tests.support.docker_engine import DockerEngine, lacks
from tests.support.environment import isolated
from tests.support.prefect_cli import CommandResult, run_program
from tests.support.project import write_project
from tests.support.pushed import push
from tests.support.registry import LocalRegistry
from tests.support.registry import lacks as lacks_registry
from tests.support.servers import PREFECT_3

DEPLOYCTL = Path(sys.executable).with_name("deployctl")
DOCKERFILE = "FROM {base}\nWORKDIR /opt/app\nCOPY flows.py .\n"
STEPS = "prefect_docker.deployments.steps"
ROUNDS, CHANGES = 2, 4
"""Number of fresh engines, and of changes that each tool publishes per engine."""
TAG = "now"


def rows() -> Iterator[Ratio]:
    """Compare the best cold and warm times. Raises `RuntimeError` if Docker can't run here."""
    if reason := lacks() or lacks_registry():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory() as folder, LocalRegistry() as registry:
        base = push(flow_image(PREFECT_3), registry, "bench/base", "1")
        publisher = Publisher(Path(folder), registry.host, base)
        cold, warm, assembled = [], [], []
        for _ in range(ROUNDS):
            with DockerEngine("overlay2") as engine:
                docker = partial(publisher.docker, engine.url)
                cold.append(run_time(docker))
                for _ in range(CHANGES):
                    warm.append(run_time(docker))
                    assembled.append(run_time(publisher.deployctl))
        yield Ratio("image of a change, cold (docker)", min(cold), min(assembled), 1 / 0.2)
        yield Ratio("image of a change, warm (docker)", min(warm), min(assembled))


class Publisher:
    """A project and the two ways to publish its image."""

    def __init__(self, folder: Path, registry: str, base: str) -> None:
        self._folder, self._registry = folder / "project", registry
        self._home = folder / "home"
        self._home.mkdir()
        plugins = {"cliPluginsExtraDirs": [str(CACHE / "cli-plugins")]}
        (self._home / "config.json").write_text(json.dumps(plugins))
        self._changes = count()
        name = f"{registry}/bench/deployctl"
        pushed = {"image_name": "{{ image.image_name }}", "tag": "{{ image.tag }}"}
        build = {"id": "image", "image_name": name, "tag": TAG, "dockerfile": "Dockerfile"}
        file = {
            "name": "bench",
            "build": [{f"{STEPS}.build_docker_image": build}],
            "push": [{f"{STEPS}.push_docker_image": pushed}],
            "deployments": [{"name": "bench", "entrypoint": "flows.py:hello"}],
        }
        files = {"Dockerfile": DOCKERFILE.format(base=base)}
        write_project(self._folder, json.dumps(file), files)

    def docker(self, url: str) -> CommandResult:
        """Build and push with Docker."""
        name = f"{self._registry}/bench/docker:{TAG}"
        script = f"docker build --quiet --tag {name} . && docker push --quiet {name}"
        return self._run(["sh", "-c", script], DOCKER_HOST=url)

    def deployctl(self) -> CommandResult:
        """Build and push with deployctl's daemonless builder."""
        return self._run([str(DEPLOYCTL), "build", "--all", "--builder", "assemble"])

    def _run(self, command: list[str], **env: str) -> CommandResult:
        """Change the flow and run a program."""
        with (self._folder / "flows.py").open("a") as flows:
            flows.write(f"\n# change {next(self._changes)}\n")
        more = {"DOCKER_CONFIG": str(self._home), **env}
        return run_program(command, cwd=self._folder, env=isolated(self._home, **more))
