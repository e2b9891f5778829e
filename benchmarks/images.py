"""A line of a flow is changed: how long until the image with it is in the registry.

`deployctl build` without an engine, beside `docker build` and `docker push`; BuildKit builds where
the docker command has its plugin. The base image, Debian with Python and Prefect, is in the
registry already, and so is an image made before. Cold: the machine has nothing of them, as fresh
machines of CI. deployctl keeps nothing on a machine; for it there is no difference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.row import Row, seconds
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
"""Engines that are new, and changes that are published with each by turns."""
TAG = "now"


def rows() -> Iterator[Row]:
    """Cold and warm, each at its best. Raises RuntimeError where there can be no engine."""
    if reason := lacks() or lacks_registry():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory() as folder, LocalRegistry() as registry:
        base = push(flow_image(PREFECT_3), registry, "bench/base", "1")
        lab = Lab(Path(folder), registry.host, base)
        cold, warm, ours = [], [], []
        for _ in range(ROUNDS):
            with DockerEngine("overlay2") as engine:
                docker = partial(lab.docker, engine.url)
                cold.append(seconds(docker))
                for _ in range(CHANGES):
                    warm.append(seconds(docker))
                    ours.append(seconds(lab.deployctl))
        yield Row("image of a change, cold (docker)", min(cold), min(ours), 1 / 0.2)
        yield Row("image of a change, warm (docker)", min(warm), min(ours))


class Lab:
    """A project, and the two ways to publish it."""

    def __init__(self, folder: Path, registry: str, base: str) -> None:
        self._folder, self._registry = folder / "project", registry
        self._home = folder / "home"
        self._home.mkdir()
        plugins = {"cliPluginsExtraDirs": [str(CACHE / "cli-plugins")]}
        (self._home / "config.json").write_text(json.dumps(plugins))
        self._changes = count()
        name = f"{registry}/bench/deployctl"
        pushed = {"image_name": "{{ made.image_name }}", "tag": "{{ made.tag }}"}
        build = {"id": "made", "image_name": name, "tag": TAG, "dockerfile": "Dockerfile"}
        file = {
            "name": "bench",
            "build": [{f"{STEPS}.build_docker_image": build}],
            "push": [{f"{STEPS}.push_docker_image": pushed}],
            "deployments": [{"name": "bench", "entrypoint": "flows.py:hello"}],
        }
        files = {"Dockerfile": DOCKERFILE.format(base=base)}
        write_project(self._folder, json.dumps(file), files)

    def docker(self, url: str) -> CommandResult:
        """Builds and pushes with an engine."""
        name = f"{self._registry}/bench/docker:{TAG}"
        script = f"docker build --quiet --tag {name} . && docker push --quiet {name}"
        return self._run(["sh", "-c", script], DOCKER_HOST=url)

    def deployctl(self) -> CommandResult:
        """Builds and pushes without one."""
        return self._run([str(DEPLOYCTL), "build", "--all", "--builder", "assemble"])

    def _run(self, command: list[str], **env: str) -> CommandResult:
        """Runs a program after a change of the flow."""
        with (self._folder / "flows.py").open("a") as flows:
            flows.write(f"\n# change {next(self._changes)}\n")
        more = {"DOCKER_CONFIG": str(self._home), **env}
        return run_program(command, cwd=self._folder, env=isolated(self._home, **more))
