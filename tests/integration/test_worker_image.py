"""The image that the Dockerfile builds, in a real Docker Engine."""

from __future__ import annotations

import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployctl import __version__
from tests.support import worker_image
from tests.support.api import Api
from tests.support.cluster.images import flow_image, write_archive
from tests.support.docker_engine import DockerEngine, lacks
from tests.support.servers import PREFECT_3, ROOT, Server
from tests.support.waiting import until

# The first test may have to build the base image.
pytestmark = pytest.mark.timeout(900)

FLOWS = """
from prefect import flow


def sizes():
    return {"small": 1, "large": len("xxl")}


@flow
def hello(size: int = sizes()["large"]):
    "Says hello."
"""
DEPLOYMENTS = """
name: project
deployments:
  - name: daily
    entrypoint: flows.py:hello
    work_pool: {name: POOL}
"""


class Images:
    """An engine with deployctl's image, and containers of it on a read-only root."""

    def __init__(self, engine: DockerEngine) -> None:
        self._client = engine.client

    def start(self, *command: str, image: str = worker_image.NAME, **options: Any) -> Any:
        """A container that runs the command, on the machine's network; it has to be removed."""
        program, *arguments = command
        return self._client.containers.run(
            image,
            arguments,
            entrypoint=[program],
            network_mode="host",
            read_only=True,
            tmpfs={"/tmp": ""},
            detach=True,
            **options,
        )

    def run(self, *command: str, **options: Any) -> tuple[int, str]:
        """Exit code and output of a command."""
        container = self.start(*command, **options)
        try:
            return container.wait()["StatusCode"], container.logs().decode()
        finally:
            container.remove(force=True)

    def build(self, folder: Path, dockerfile: str) -> str:
        """The id of the image of a Dockerfile."""
        (folder / "Dockerfile").write_text(dockerfile)
        image, _ = self._client.images.build(path=str(folder), network_mode="none")
        return str(image.id)

    def load(self, path: Path) -> None:
        """Loads an archive of images."""
        with path.open("rb") as archive:
            self._client.images.load(archive)


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    """deployctl's image in an engine."""
    if reason := lacks():
        pytest.skip(reason)
    with worker_image.fast_engine() as engine:
        worker_image.load(engine)
        yield Images(engine)


@pytest.fixture(scope="module")
def api(prefect3: Server) -> Iterator[Api]:
    with Api(prefect3.api_url) as api:
        yield api


@pytest.fixture
def pool(api: Api) -> str:
    """A work pool of this test."""
    name = f"pool-{uuid.uuid4().hex[:8]}"
    api.pool(name, "process")
    return name


@pytest.fixture
def project(tmp_path: Path, pool: str) -> dict[str, Any]:
    """Options of a container that has a project with a deployment on the pool in `/project`."""
    (tmp_path / "flows.py").write_text(FLOWS)
    (tmp_path / "prefect.yaml").write_text(DEPLOYMENTS.replace("POOL", pool))
    tmp_path.chmod(0o755)
    return {"volumes": {str(tmp_path): {"bind": "/project", "mode": "ro"}}}


def test_image_runs_as_user_1001_on_a_read_only_root(images: Images) -> None:
    code, output = images.run("sh", "-c", "id -u; id -g; deployctl --version; pwd; touch /x")
    assert code != 0
    *known, refused = output.splitlines()
    assert known == ["1001", "1001", f"deployctl {__version__}", "/project"]
    assert "Read-only file system" in refused


def test_image_has_exactly_the_locked_packages(images: Images) -> None:
    """No pip, no build backend, and each package in its locked version."""
    code = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
    _, output = images.run("/opt/deployctl/bin/python", "-I", "-c", code)
    installed = {
        name.lower().replace("_", "-").replace(".", "-"): version
        for name, version in (line.split() for line in output.splitlines())
    }
    lines = (ROOT / "image" / "requirements.txt").read_text().splitlines()
    pins = [line.rstrip("\\ ").partition(" ; ")[0] for line in lines if "==" in line]
    locked = dict(pin.split("==") for pin in pins if not pin.startswith(("pywin32==",)))
    assert installed == {**locked, "deployctl": __version__}


def test_image_adds_only_its_own_files_to_the_base(images: Images) -> None:  # noqa: ARG001
    with tarfile.open(worker_image.archive()) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest
        layers = json.load(manifest)[0]["Layers"][len(worker_image.base_image().layers) :]
        names = [name for layer in layers for name in files_of(archive, layer)]
    places = ("opt/deployctl/", "opt/prefect/entrypoint.sh", "usr/bin/tini")
    assert {name for name in names if not name.startswith(places)} == set()
    assert {place for place in places if any(name.startswith(place) for name in names)} == {*places}


def files_of(archive: tarfile.TarFile, layer: str) -> list[str]:
    """The names of all but the folders in a layer of a saved image."""
    content = archive.extractfile(layer)
    assert content
    with tarfile.open(fileobj=content) as files:
        return [each.name for each in files if not each.isdir()]


def test_prefect_refuses_commands_that_the_image_lacks(images: Images) -> None:
    code, output = images.run("prefect", "config", "view")
    assert code == 64
    assert "Use environment variables" in output


def test_deploy_hook_of_a_container(
    images: Images, prefect3: Server, api: Api, project: dict[str, Any]
) -> None:
    """`prefect --no-prompt deploy --all` works, also if the project shadows libraries."""
    (Path(next(iter(project["volumes"]))) / "docker.py").write_text("raise RuntimeError")
    environment = {"PREFECT_API_URL": prefect3.api_url}
    command = ("prefect", "--no-prompt", "deploy", "--all")
    code, output = images.run(*command, environment=environment, **project)
    assert code == 0, output
    schema = api.deployment("hello", "daily")["parameter_openapi_schema"]
    assert schema["properties"]["size"]["default"] == 3


def test_init_container_of_the_official_chart_syncs_the_template(
    images: Images, prefect3: Server, api: Api, pool: str, tmp_path: Path
) -> None:
    variable = {"command": {"type": "string", "default": "x"}}
    template = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"properties": variable},
    }
    (tmp_path / "template.json").write_text(json.dumps(template))
    tmp_path.chmod(0o755)
    script = f"""
set -e
prefect version
prefect work-pool inspect {pool} > /tmp/pool
prefect work-pool update --base-job-template /project/template.json {pool}
if prefect work-pool inspect no-such-pool; then exit 9; fi
"""
    code, output = images.run(
        "sh",
        "-c",
        script,
        environment={"PREFECT_API_URL": prefect3.api_url},
        volumes={str(tmp_path): {"bind": "/project", "mode": "ro"}},
    )
    assert code == 0, output
    assert api.call("GET", f"/work_pools/{pool}")["base_job_template"] == template


def test_worker_of_the_official_chart_stops_on_sigterm(
    images: Images, prefect3: Server, api: Api, pool: str
) -> None:
    """The program is the container's first process, although the chart starts it by tini."""
    command = ("/usr/bin/tini", "-g", "--", "/opt/prefect/entrypoint.sh", "prefect", "worker")
    options = ("start", "--type", "process", "--pool", pool, "--install-policy", "if-not-present")
    container = images.start(*command, *options, environment={"PREFECT_API_URL": prefect3.api_url})
    try:
        until(
            lambda: api.call("POST", f"/work_pools/{pool}/workers/filter", {}),
            lambda: container.logs().decode(),
        )
        first = container.exec_run(["cat", "/proc/1/cmdline"]).output.split(b"\0")
        assert first[:4] == [b"/opt/deployctl/bin/python", b"-EP", b"-m", b"deployctl.cli.prefect"]
        container.kill("SIGTERM")
        assert container.wait()["StatusCode"] == 0, container.logs().decode()
    finally:
        container.remove(force=True)


def test_deployctl_beside_a_real_prefect(
    images: Images, prefect3: Server, api: Api, project: dict[str, Any], tmp_path: Path
) -> None:
    """`prefect` is Prefect's, and flows are read with its Python."""
    with (tmp_path / "flow.tar").open("wb") as archive:
        write_archive([flow_image(PREFECT_3)], archive)
    images.load(tmp_path / "flow.tar")
    folder = tmp_path / "image"
    folder.mkdir()
    image = images.build(
        folder,
        f"""\
FROM flow:{PREFECT_3}
COPY --from={worker_image.NAME} /opt/deployctl /opt/deployctl
ENV PATH=$PATH:/opt/deployctl/bin:/opt/deployctl/shims HOME=/tmp
USER 1001:1001
WORKDIR /project
""",
    )
    (tmp_path / "flows.py").write_text(f"import prefect\nassert prefect.__version__\n{FLOWS}")
    code, output = images.run("prefect", "--version", image=image)
    assert (code, output.strip()) == (0, PREFECT_3)
    code, output = images.run(
        "deployctl",
        "deploy",
        "--all",
        image=image,
        environment={"PREFECT_API_URL": prefect3.api_url},
        **project,
    )
    assert code == 0, output
    assert api.deployment("hello", "daily")["description"] == "Says hello."


def test_output_and_reason_of_a_hook_are_in_its_container(images: Images) -> None:
    """As a postStart hook is: a second process of a container, whose output goes elsewhere."""
    container = images.start("sleep", "infinity")
    try:
        environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "TERMINATION_LOG_PATH": "/tmp/reason"}
        hook = "touch /tmp/reason; deployctl deploy --all --container-log; echo $?; cat /tmp/reason"
        _, output = container.exec_run(["sh", "-c", hook], environment=environ)
        reason = "error[DC100]: there is no file 'prefect.yaml'"
        assert output.decode().endswith(f"1\n{reason}"), output
        until(lambda: reason in container.logs().decode())
    finally:
        container.remove(force=True)
