"""Images that a project builds and pushes, with Docker and without, for its deployments."""

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
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
)
"""Docker's library leaves its socket to the end of the process where no engine answers."""

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
    """An image in the registry that nobody has to unpack."""
    client = RegistryClient(registry.host)
    add_image(client, "build/plain", "1", [b"a layer"])
    client.close()
    return f"{registry.host}/build/plain:1"


def steps(name: str, **build: Any) -> dict[str, Any]:
    """`build` and `push` of an image; its tag says what is in it."""
    pushed = {"image_name": "{{ build-image.image_name }}", "tag": "{{ build-image.tag }}"}
    return {
        "build": [{BUILD: {"id": "build-image", "requires": "x", "image_name": name, **build}}],
        "push": [{PUSH: pushed}],
    }


def imaged(**fields: Any) -> dict[str, Any]:
    """A deployment that runs in the image of the build step."""
    variables = {"image": "{{ build-image.image }}", "env": {"KEPT": "{{ build-image.tag }}"}}
    return entry(work_pool={"name": "pool", "job_variables": variables}, **fields)


class Repository:
    """What a registry has under one name."""

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
    """A repository of the test's own."""
    path = "".join(each if each.isalnum() else "-" for each in request.node.name.lower())
    made = Repository(registry, f"build/{path.strip('-')}")
    yield made
    made.close()


def image_of(project: ProjectHarness, name: str = "daily") -> str:
    return str(job_variables(project.live(name))["image"])


def write(project: ProjectHarness, base: str, *deployments: Any, **top: Any) -> None:
    """A project with a Dockerfile of the simple kind."""
    (project.folder / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /app\nCOPY *.py .\n")
    (project.folder / ".dockerignore").write_text("prefect.yaml\n")
    project.write(list(deployments), **top)


@pytest.mark.parametrize("builder", ["docker", "assemble"])
def test_a_deployment_gets_exactly_the_image_that_was_pushed_and_a_new_one_when_code_changes(
    project: ProjectHarness,
    base: str,
    docker_engine: DockerEngine,
    repository: Repository,
    builder: str,
) -> None:
    env = {"DOCKER_HOST": docker_engine.url if builder == "docker" else NOWHERE}
    write(project, base, imaged(), imaged(name="weekly"), **steps(repository.name))
    project.deploy(env=env)
    first = image_of(project)
    (tag,) = repository.tags
    assert first == f"{repository.name}:{tag}@{repository.digest(tag)}"
    assert image_of(project, "weekly") == first
    assert job_variables(project.live())["env"] == {"KEPT": tag}

    said = project.deploy(env=env)
    assert said["summary"]["none"] == 2
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


def test_an_image_that_is_not_pushed_keeps_its_plain_name(
    project: ProjectHarness, base: str, docker_engine: DockerEngine, repository: Repository
) -> None:
    env = {"DOCKER_HOST": docker_engine.url}
    write(project, base, imaged(), build=steps(repository.name, tag="local")["build"])
    project.deploy(env=env)
    assert image_of(project) == f"{repository.name}:local"
    assert docker_engine.client.images.get(f"{repository.name}:local")
    said = project.deploy(env=env)
    assert said["summary"]["none"] == 1


def test_an_image_that_nobody_would_have_is_not_deployed(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, imaged(), build=steps(repository.name, tag="local")["build"])
    said = project.deploy(code=1, env={"DEPLOYCTL_BUILDER": "assemble"})
    (problem,) = errors(said)
    assert (problem["code"], "no step pushes it" in problem["message"]) == ("DC740", True)
    assert project.proxy.writes == []


def test_without_pins_the_plain_name_is_deployed(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    env = {"DEPLOYCTL_BUILDER": "assemble"}
    write(project, plain_base, imaged(), **steps(repository.name, tag=3.1))
    project.deploy("--no-pin", env=env)
    assert image_of(project) == f"{repository.name}:3.1"
    project.deploy(env=env)
    assert image_of(project) == f"{repository.name}:3.1@{repository.digest('3.1')}"


def test_one_stage_builds_and_the_next_deploys_what_it_has_built(
    project: ProjectHarness, cli: Cli, plain_base: str, repository: Repository
) -> None:
    write(
        project,
        plain_base,
        imaged(),
        entry(name="plain", build=[], push=[]),
        **steps(repository.name),
    )
    ended = cli("build", "--output", "json", cwd=project.folder, DOCKER_HOST=NOWHERE)
    assert ended.code == 0, ended.stderr
    assert "no container engine answers" in ended.stderr
    built = json.loads(ended.stdout)
    (tag,) = [each for each in repository.tags if each.startswith("content-")]
    pinned = f"{repository.name}:{tag}@{repository.digest(tag)}"
    assert built["version"] == 1
    assert [image["image"] for image in built["images"]] == [pinned]
    assert built["outputs"]["hello/daily"]["build-image"]["tag"] == tag
    assert built["pins"] == {f"{repository.name}:{tag}": pinned}

    (project.folder / "images.json").write_text(ended.stdout)
    (project.folder / "Dockerfile").unlink()
    project.deploy("--images", "images.json", env={"DOCKER_HOST": NOWHERE})
    assert image_of(project) == pinned


def test_what_was_not_built_is_not_deployed_from_the_file(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, imaged(), imaged(name="weekly"), **steps(repository.name))
    env = {"DEPLOYCTL_BUILDER": "assemble"}
    built = project.run("build", "-n", "daily", env=env)
    (project.folder / "images.json").write_text(json.dumps(built))
    said = project.deploy("--images", "images.json", code=1)
    assert [(each["code"], "weekly" in each["message"]) for each in errors(said)] == [
        ("DC341", True)
    ]
    assert project.proxy.writes == []
    (project.folder / "images.json").write_text("{}")
    said = project.deploy("--images", "images.json", code=1)
    assert [each["code"] for each in errors(said)] == ["DC340"]


@pytest.mark.parametrize("command", ["deploy", "plan"])
@pytest.mark.parametrize("option", [["--skip-build"], ["--image", "registry.test/team/app:2"]])
def test_no_engine_is_looked_for_where_nothing_is_built(
    project: ProjectHarness, repository: Repository, command: str, option: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as engine:
        host = f"tcp://127.0.0.1:{engine.getsockname()[1]}"
        project.write(
            [imaged() if "--image" in option else entry()], **steps(repository.name, tag="1")
        )
        project.run(command, "--all", *option, env={"DOCKER_HOST": host})
        engine.setblocking(False)
        with pytest.raises(BlockingIOError):
            engine.accept()
    if command == "deploy" and "--image" in option:
        assert image_of(project) == "registry.test/team/app:2"
        assert job_variables(project.live())["env"] == {"KEPT": "2"}


def test_files_of_one_command_share_what_they_build(
    project: ProjectHarness, base: str, docker_engine: DockerEngine, repository: Repository
) -> None:
    every = steps(repository.name, ignore_cache=True)
    write(project, base, imaged(), **every)
    second = {"name": "second", **every, "deployments": [imaged(name="weekly")]}
    (project.folder / "second.yaml").write_text(json.dumps(second))
    files = ["--prefect-file", "prefect.yaml", "--prefect-file", "second.yaml"]
    ended = project.cli(
        *("deploy", "--all", *files),
        cwd=project.folder,
        api_url=project.api_url,
        DOCKER_HOST=docker_engine.url,
    )
    assert ended.code == 0, ended.stderr
    assert ended.stderr.count("Step 1/") == 1
    assert ended.stderr.count("digest: sha256:") == 1
    assert "@sha256:" in image_of(project)
    assert image_of(project, "weekly") == image_of(project)


def test_a_project_without_a_dockerfile_is_deployed_in_prefects_image(
    project: ProjectHarness, docker_engine: DockerEngine, repository: Repository
) -> None:
    version = project.api.call("GET", "/admin/version")
    docker_engine.client.images.get(IMAGE).tag("prefecthq/prefect", f"{version}-python3.11")
    project.write([imaged()], **steps(repository.name, dockerfile="auto", pull=False))
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


def test_a_made_up_dockerfile_without_any_prefect_says_what_would_tell_the_version(
    cli: Cli, tmp_path: Path
) -> None:
    text = json.dumps({"deployments": [imaged()], **steps("registry.test/a", dockerfile="auto")})
    write_project(tmp_path, text)
    ended = cli("build", "--output", "json", cwd=tmp_path, DEPLOYCTL_BUILDER="assemble")
    (problem,) = errors(json.loads(ended.stdout))
    assert (ended.code, problem["code"]) == (1, "DC003")
    assert "`dockerfile: auto` needs a version of Prefect" in problem["message"]
    assert "into the project's '.venv'" in problem["help"]


WAITS = 'RUN ["/box", "print=begun", "sleep=600"]\n'


@pytest.mark.parametrize(
    ("step", "sent", "code"),
    [("image", signal.SIGINT, 130), ("script", signal.SIGTERM, 143)],
)
def test_a_signal_in_the_middle_of_a_build_leaves_nothing_behind(
    project: ProjectHarness,
    base: str,
    docker_engine: DockerEngine,
    repository: Repository,
    step: str,
    sent: signal.Signals,
    code: int,
) -> None:
    write(project, base, imaged(), **steps(repository.name, network_mode="none"))
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
        _, complaints = running.communicate(timeout=PATIENCE)
    assert running.returncode == code, complaints
    assert "Traceback" not in complaints
    assert "stopped; nothing was written to the server" in complaints
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


def test_a_build_that_fails_names_its_deployment_and_nothing_is_written(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, imaged(), **steps(repository.name))
    with (project.folder / "Dockerfile").open("a") as file:
        file.write("RUN true\n")
    said = project.deploy(code=1, env={"DEPLOYCTL_BUILDER": "assemble"})
    (problem,) = errors(said)
    assert "step 'build-image' of hello/daily" in problem["message"]
    assert "Dockerfile:4" in problem["message"]
    assert project.proxy.writes == []
    assert repository.tags == []


def test_docker_that_does_not_answer_is_an_error_only_where_docker_is_wanted(
    project: ProjectHarness, plain_base: str, repository: Repository
) -> None:
    write(project, plain_base, imaged(), **steps(repository.name))
    env = {"DOCKER_HOST": NOWHERE}
    said = project.deploy("--builder", "docker", code=1, env=env)
    (problem,) = errors(said)
    assert problem["code"] == "DC651"
    project.deploy(env=env)
    assert image_of(project).startswith(f"{repository.name}:content-")


def test_options_that_exclude_each_other_are_told_at_once(project: ProjectHarness) -> None:
    project.write([entry()])
    said = project.deploy("--images", "images.json", "--image", "a:1", code=64)
    assert [problem["code"] for problem in errors(said)] == ["DC002"]
