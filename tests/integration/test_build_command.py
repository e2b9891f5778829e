"""Images that a project builds and pushes for its deployments, with and without Docker."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployctl.clients.registry.client import RegistryClient
from tests.integration.conftest import Cli
from tests.support.docker_engine import IMAGE, DockerEngine
from tests.support.environment import isolated
from tests.support.project import write_project
from tests.support.project_harness import ProjectHarness, entry, errors, job_variables
from tests.support.registry import LocalRegistry, add_image
from tests.support.waiting import TIMEOUT, until

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
"""docker-py closes its socket only at the end of the process if no engine answers."""

BUILD = "prefect_docker.deployments.steps.build_docker_image"
PUSH = "prefect_docker.deployments.steps.push_docker_image"
SHELL = "prefect.deployments.steps.run_shell_script"
NOWHERE = "unix:///nonexistent/docker.sock"


@pytest.fixture(scope="module")
def base(docker_engine: DockerEngine, registry: LocalRegistry) -> str:
    """An image in the registry that Docker can build on."""
    name = f"{registry.host}/build/base"
    text = b"FROM box:1\nENV A=b\n"
    docker_engine.client.images.build(fileobj=io.BytesIO(text), tag=f"{name}:1")
    docker_engine.client.images.push(name, "1")
    return f"{name}:1"


@pytest.fixture
def plain_base(registry: LocalRegistry) -> str:
    """An image in the registry whose layer is no archive: nothing unpacks it."""
    client = RegistryClient(registry.host)
    add_image(client, "build/plain", "1", [b"a layer"])
    client.close()
    return f"{registry.host}/build/plain:1"


def steps(name: str, **build: Any) -> dict[str, Any]:
    """`build` and `push` steps of an image, by default with a content tag."""
    pushed = {"image_name": "{{ build-image.image_name }}", "tag": "{{ build-image.tag }}"}
    return {
        "build": [{BUILD: {"id": "build-image", "requires": "x", "image_name": name, **build}}],
        "push": [{PUSH: pushed}],
    }


def image_entry(**fields: Any) -> dict[str, Any]:
    """A deployment that runs in the image that the build step produces."""
    variables = {"image": "{{ build-image.image }}", "env": {"KEPT": "{{ build-image.tag }}"}}
    return entry(work_pool={"name": "pool", "job_variables": variables}, **fields)


class Repository:
    """One repository of the registry."""

    def __init__(self, registry: LocalRegistry, path: str) -> None:
        self.name = f"{registry.host}/{path}"
        self._path = path
        self._list = f"{registry.url}/v2/{path}/tags/list"
        self._client = RegistryClient(registry.host)

    @property
    def tags(self) -> list[str]:
        return httpx.get(self._list).json().get("tags") or []

    def digest(self, tag: str) -> str | None:
        return self._client.head_manifest(self._path, tag)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def repository(registry: LocalRegistry, request: pytest.FixtureRequest) -> Iterator[Repository]:
    """A repository for this test alone."""
    path = "".join(each if each.isalnum() else "-" for each in request.node.name.lower())
    repository = Repository(registry, f"build/{path.strip('-')}")
    yield repository
    repository.close()


def image_of(project: ProjectHarness, name: str = "daily") -> str:
    return str(job_variables(project.live(name))["image"])


def write(project: ProjectHarness, base: str, *deployments: Any, **top: Any) -> None:
    """Writes a project with a Dockerfile that assemble can build."""
    (project.folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /app\nCOPY *.py .\n")
    (project.folder / ".dockerignore").write_text("prefect.yaml\n")
    project.write(list(deployments), **top)


@pytest.mark.parametrize("builder", ["docker", "assemble"])
def test_deploys_pushed_digest_and_rebuilds_only_changed_content(
    project: ProjectHarness,
    base: str,
    docker_engine: DockerEngine,
    repository: Repository,
    builder: str,
) -> None:
    env = {"DOCKER_HOST": docker_engine.url if builder == "docker" else NOWHERE}
    write(project, base, image_entry(), image_entry(name="weekly"), **steps(repository.name))
    project.deploy(env=env)
    first = image_of(project)
    (tag,) = repository.tags
    assert first == f"{repository.name}:{tag}@{repository.digest(tag)}"
    assert image_of(project, "weekly") == first
    assert job_variables(project.live())["env"] == {"KEPT": tag}

    output = project.deploy(env=env)
    assert output["summary"]["none"] == 2
    assert project.proxy.writes == []
    assert repository.tags == [tag]
    assert project.run("plan", "--all", env=env)["summary"]["none"] == 2

    flows = project.folder / "flows.py"
    flows.write_text(flows.read_text() + "\n# changed\n")
    (change, _) = project.run("plan", "--all", env=env)["changes"]
    assert change["op"] == "update"
    assert len(repository.tags) == 1
    project.deploy(env=env)
    assert image_of(project) != first
    assert len(repository.tags) == 2


def test_image_that_is_not_pushed_has_no_digest(
    project: ProjectHarness, base: str, docker_engine: DockerEngine, repository: Repository
) -> None:
    env = {"DOCKER_HOST": docker_engine.url}
    write(project, base, image_entry(), build=steps(repository.name, tag="local")["build"])
    project.deploy(env=env)
    assert image_of(project) == f"{repository.name}:local"
    assert docker_engine.client.images.get(f"{repository.name}:local")
    output = project.deploy(env=env)
    assert output["summary"]["none"] == 1


def test_assembled_image_must_be_pushed(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, image_entry(), build=steps(repository.name, tag="local")["build"])
    output = project.deploy(code=1, env={"DEPLOYCTL_BUILDER": "assemble"})
    (problem,) = errors(output)
    assert (problem["code"], "no step pushes it" in problem["message"]) == ("DC740", True)
    assert project.proxy.writes == []


def test_no_pin_deploys_name_and_tag(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    env = {"DEPLOYCTL_BUILDER": "assemble"}
    write(project, plain_base, image_entry(), **steps(repository.name, tag=3.1))
    project.deploy("--no-pin", env=env)
    assert image_of(project) == f"{repository.name}:3.1"
    project.deploy(env=env)
    assert image_of(project) == f"{repository.name}:3.1@{repository.digest('3.1')}"


def test_deploys_images_of_an_earlier_build(
    project: ProjectHarness, cli: Cli, plain_base: str, repository: Repository
) -> None:
    write(
        project,
        plain_base,
        image_entry(),
        entry(name="plain", build=[], push=[]),
        **steps(repository.name),
    )
    result = cli("build", "--output", "json", cwd=project.folder, DOCKER_HOST=NOWHERE)
    assert result.code == 0, result.stderr
    assert "no container engine answers" in result.stderr
    built = json.loads(result.stdout)
    (tag,) = [each for each in repository.tags if each.startswith("content-")]
    pinned = f"{repository.name}:{tag}@{repository.digest(tag)}"
    assert built["version"] == 1
    assert [image["image"] for image in built["images"]] == [pinned]
    assert built["outputs"]["hello/daily"]["build-image"]["tag"] == tag
    assert built["pins"] == {f"{repository.name}:{tag}": pinned}

    (project.folder / "images.json").write_text(result.stdout)
    (project.folder / "Dockerfile").unlink()
    project.deploy("--images", "images.json", env={"DOCKER_HOST": NOWHERE})
    assert image_of(project) == pinned


def test_images_file_must_have_outputs_of_each_deployment(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, image_entry(), image_entry(name="weekly"), **steps(repository.name))
    env = {"DEPLOYCTL_BUILDER": "assemble"}
    built = project.run("build", "-n", "daily", env=env)
    (project.folder / "images.json").write_text(json.dumps(built))
    output = project.deploy("--images", "images.json", code=1)
    assert [(each["code"], "weekly" in each["message"]) for each in errors(output)] == [
        ("DC341", True)
    ]
    assert project.proxy.writes == []
    (project.folder / "images.json").write_text("{}")
    output = project.deploy("--images", "images.json", code=1)
    assert [each["code"] for each in errors(output)] == ["DC340"]


@pytest.mark.parametrize("command", ["deploy", "plan"])
@pytest.mark.parametrize("option", [["--skip-build"], ["--image", "registry.test/team/app:2"]])
def test_does_not_connect_to_engine_without_a_build(
    project: ProjectHarness, repository: Repository, command: str, option: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as engine:
        host = f"tcp://127.0.0.1:{engine.getsockname()[1]}"
        project.write(
            [image_entry() if "--image" in option else entry()], **steps(repository.name, tag="1")
        )
        project.run(command, "--all", *option, env={"DOCKER_HOST": host})
        engine.setblocking(False)
        with pytest.raises(BlockingIOError):
            engine.accept()
    if command == "deploy" and "--image" in option:
        assert image_of(project) == "registry.test/team/app:2"
        assert job_variables(project.live())["env"] == {"KEPT": "2"}


def test_files_of_one_command_share_builds(
    project: ProjectHarness, base: str, docker_engine: DockerEngine, repository: Repository
) -> None:
    every = steps(repository.name, ignore_cache=True)
    write(project, base, image_entry(), **every)
    second = {"name": "second", **every, "deployments": [image_entry(name="weekly")]}
    (project.folder / "second.yaml").write_text(json.dumps(second))
    files = ["--prefect-file", "prefect.yaml", "--prefect-file", "second.yaml"]
    result = project.cli(
        *("deploy", "--all", *files),
        cwd=project.folder,
        api_url=project.api_url,
        DOCKER_HOST=docker_engine.url,
    )
    assert result.code == 0, result.stderr
    assert result.stderr.count("Step 1/") == 1
    assert result.stderr.count("digest: sha256:") == 1
    assert "@sha256:" in image_of(project)
    assert image_of(project, "weekly") == image_of(project)


def test_auto_dockerfile_uses_image_of_prefect(
    project: ProjectHarness, docker_engine: DockerEngine, repository: Repository
) -> None:
    version = project.api.call("GET", "/admin/version")
    docker_engine.client.images.get(IMAGE).tag("prefecthq/prefect", f"{version}-python3.11")
    project.write([image_entry()], **steps(repository.name, dockerfile="auto", pull=False))
    before = sorted(project.folder.iterdir())
    project.deploy(env={"DOCKER_HOST": docker_engine.url, "HTTPS_PROXY": "http://127.0.0.1:1"})
    (tag,) = repository.tags
    assert image_of(project) == f"{repository.name}:{tag}@{repository.digest(tag)}"
    home = f"/opt/prefect/{project.folder.name}"
    (pull,) = project.live()["pull_steps"]
    assert pull == {"prefect.deployments.steps.set_working_directory": {"directory": home}}
    config = docker_engine.client.images.get(f"{repository.name}:{tag}").attrs["Config"]
    assert config["WorkingDir"].rstrip("/") == home
    assert sorted(project.folder.iterdir()) == before


def test_auto_dockerfile_needs_a_version_of_prefect(cli: Cli, tmp_path: Path) -> None:
    text = json.dumps(
        {"deployments": [image_entry()], **steps("registry.test/a", dockerfile="auto")}
    )
    write_project(tmp_path, text)
    result = cli("build", "--output", "json", cwd=tmp_path, DEPLOYCTL_BUILDER="assemble")
    (problem,) = errors(json.loads(result.stdout))
    assert (result.code, problem["code"]) == (1, "DC003")
    assert "`dockerfile: auto` needs a version of Prefect" in problem["message"]
    assert "into the project's '.venv'" in problem["help"]


WAITS = 'RUN ["/box", "print=begun", "sleep=600"]\n'


@pytest.mark.parametrize(
    ("step", "sent", "code"),
    [("image", signal.SIGINT, 130), ("script", signal.SIGTERM, 143)],
)
def test_signal_during_build_leaves_nothing_behind(
    project: ProjectHarness,
    base: str,
    docker_engine: DockerEngine,
    repository: Repository,
    step: str,
    sent: signal.Signals,
    code: int,
) -> None:
    write(project, base, image_entry(), **steps(repository.name, network_mode="none"))
    with (project.folder / "Dockerfile").open("a") as file:
        file.write(WAITS)
    if step == "script":
        script = f"touch {project.folder}/open; echo begun; exec sleep 600 <{project.folder}/open"
        project.write([entry()], build=[{SHELL: {"script": f"sh -c '{script}'"}}])
    project.proxy.clear()

    def containers() -> set[str]:
        return {each["Id"] for each in docker_engine.client.api.containers(all=True)}

    before = containers()
    with subprocess.Popen(
        [Path(sys.executable).with_name("deployctl"), "deploy", "--all"],
        cwd=project.folder,
        env=isolated(
            project.folder / "home",
            PREFECT_API_URL=project.proxy.api_url,
            DOCKER_HOST=docker_engine.url,
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr
        while not (line := next(running.stderr)).endswith("| begun\n"):
            assert line
        running.send_signal(sent)
        _, stderr = running.communicate(timeout=TIMEOUT)
    assert running.returncode == code, stderr
    assert "Traceback" not in stderr
    assert "stopped; nothing was written to the server" in stderr
    assert project.proxy.writes == []
    assert repository.tags == []
    until(lambda: containers() == before)
    assert not [
        link for link in Path("/proc").glob("[0-9]*/fd/0") if _is(link, project.folder / "open")
    ]


def _is(link: Path, path: Path) -> bool:
    """Whether this open file of a process is that file."""
    try:
        return link.readlink() == path
    except OSError:
        return False


def test_failed_build_names_deployment_and_writes_nothing(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, image_entry(), **steps(repository.name))
    with (project.folder / "Dockerfile").open("a") as file:
        file.write("RUN true\n")
    output = project.deploy(code=1, env={"DEPLOYCTL_BUILDER": "assemble"})
    (problem,) = errors(output)
    assert "step 'build-image' of hello/daily" in problem["message"]
    assert "Dockerfile:4" in problem["message"]
    assert project.proxy.writes == []
    assert repository.tags == []


def test_missing_engine_is_an_error_only_for_builder_docker(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, image_entry(), **steps(repository.name))
    env = {"DOCKER_HOST": NOWHERE}
    output = project.deploy("--builder", "docker", code=1, env=env)
    (problem,) = errors(output)
    assert problem["code"] == "DC651"
    project.deploy(env=env)
    assert image_of(project).startswith(f"{repository.name}:content-")


def test_rejects_conflicting_options(project: ProjectHarness) -> None:
    project.write([entry()])
    output = project.deploy("--images", "images.json", "--image", "a:1", code=64)
    assert [problem["code"] for problem in errors(output)] == ["DC002"]
