"""`deployctl doctor` names the cause of each planted fault, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.client import OCI_MANIFEST, RegistryClient, digest_of
from deployctl.jobs.base_job_templates import base_job_template
from deployctl.jobs.rbac import IDENTITY, IN_JOB_NAMESPACES, IN_OWN_NAMESPACE, Rule
from tests.integration.conftest import Cli
from tests.support.api import Api
from tests.support.cluster.cluster import Cluster
from tests.support.project import write_project
from tests.support.proxy import Proxy
from tests.support.registry import OCI_CONFIG, LocalRegistry, from_bytes
from tests.support.servers import Server

POOL = "doctor"
RIGHTS = (*IN_JOB_NAMESPACES, *IN_OWN_NAMESPACE)
SECRET_KEY = "pnu_0123456789abcdefghij"
BUILD = "prefect_docker.deployments.steps.build_docker_image"
PUSH = "prefect_docker.deployments.steps.push_docker_image"


@dataclass(frozen=True)
class Healthy:
    """A pool with a worker and a deployment, and a namespace with an account, all without faults.

    They are shared by the tests of this file.
    """

    api: Api
    cluster: Cluster
    namespace: str
    image: str
    kubeconfig: Path
    deployment: str
    """Id of the deployment."""


@dataclass
class Setup:
    """What one test passes to doctor. Its `stack` undoes what the test changes."""

    healthy: Healthy
    folder: Path
    cli: Cli
    api_url: str
    registry: LocalRegistry
    closed_registry: LocalRegistry
    stack: ExitStack
    args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.env = {
            "PREFECT_API_KEY": SECRET_KEY,
            "DOCKER_HOST": "tcp://127.0.0.1:9",
            "KUBECONFIG": str(self.healthy.kubeconfig),
        }
        self.write()

    def write(self, queue: str = "default", **steps: Any) -> None:
        """Writes prefect.yaml."""
        pool = {"name": POOL, "work_queue_name": queue}
        entry = {"name": "d", "entrypoint": "flows.py:hello", "work_pool": pool}
        write_project(self.folder, json.dumps({"name": "p", **steps, "deployments": [entry]}))

    def allow(self, *rules: Rule) -> None:
        """Uses an account with these rights."""
        self.env["KUBECONFIG"] = str(account(self.healthy.cluster, self.healthy.namespace, rules))

    def change(self, path: str, change: Any, undo: Any) -> None:
        """Changes an object on the Prefect server until the test ends."""
        self.healthy.api.call("PATCH", path, change)
        self.stack.callback(self.healthy.api.call, "PATCH", path, undo)

    def set_variables(self, **variables: Any) -> None:
        """Changes job variables of the deployment."""
        usual = {"namespace": self.healthy.namespace, "image": self.healthy.image}
        path = f"/deployments/{self.healthy.deployment}"
        self.change(path, {"job_variables": usual | variables}, {"job_variables": usual})

    def create(self, kind: str, body: Any) -> None:
        """Creates an object in the namespace until the test ends."""
        path = f"/api/v1/namespaces/{self.healthy.namespace}/{kind}"
        self.healthy.cluster.request("POST", path, body)
        name = body["metadata"]["name"]
        self.stack.callback(self.healthy.cluster.request, "DELETE", f"{path}/{name}")

    def doctor(self) -> tuple[int, list[Any]]:
        """Runs doctor; returns its exit code and the checks."""
        done = self.cli(
            *("doctor", "--output", "json", "--timeout", "120", *self.args),
            cwd=self.folder,
            api_url=self.api_url,
            **self.env,
        )
        assert SECRET_KEY not in done.stdout + done.stderr
        return done.code, json.loads(done.stdout)["checks"]


def account(cluster: Cluster, namespace: str, rules: Sequence[Rule]) -> Path:
    """The kubeconfig of a new account with these rights in the namespace."""
    identity = [each.rule() for each in IDENTITY]
    return cluster.kubeconfig_for([each.rule() for each in rules], namespace, identity)


@pytest.fixture(scope="module")
def image(registry: LocalRegistry) -> str:
    """An image without layers in the registry."""
    client = RegistryClient(registry.host)
    try:
        client.push_blob("doctor/app", digest_of(b"{}"), 2, from_bytes(b"{}"))
        config = {"mediaType": OCI_CONFIG, "digest": digest_of(b"{}"), "size": 2}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config,
            "layers": [],
        }
        client.put_manifest("doctor/app", "1", json.dumps(manifest).encode(), OCI_MANIFEST)
    finally:
        client.close()
    return f"{registry.host}/doctor/app:1"


@pytest.fixture(scope="module")
def healthy(prefect3: Server, control_plane: Cluster, image: str) -> Iterator[Healthy]:
    with Api(prefect3.api_url) as api, control_plane.namespace() as namespace:
        api.pool(POOL, "kubernetes", base_job_template("kubernetes"))
        beat = {"name": "w", "heartbeat_interval_seconds": 3600}
        api.call("POST", f"/work_pools/{POOL}/workers/heartbeat", beat)
        flow = api.call("POST", "/flows/", {"name": "hello"})["id"]
        variables = {"namespace": namespace, "image": image}
        deployment = {
            "name": "d",
            "flow_id": flow,
            "work_pool_name": POOL,
            "job_variables": variables,
        }
        created = api.call("POST", "/deployments/", deployment)["id"]
        kubeconfig = account(control_plane, namespace, RIGHTS)
        yield Healthy(api, control_plane, namespace, image, kubeconfig, created)


@pytest.fixture
def setup(
    healthy: Healthy,
    prefect3: Server,
    registry: LocalRegistry,
    closed_registry: LocalRegistry,
    in_process_cli: Cli,
    tmp_path: Path,
) -> Iterator[Setup]:
    with ExitStack() as stack:
        url = prefect3.api_url
        yield Setup(healthy, tmp_path, in_process_cli, url, registry, closed_registry, stack)


def wrong_key(setup: Setup) -> str:
    proxy = setup.stack.enter_context(Proxy(setup.api_url))
    proxy.answer(401, times=100)
    setup.api_url = proxy.api_url
    return "does not accept these credentials"


def wrong_url(setup: Setup) -> str:
    setup.api_url = setup.api_url.removesuffix("/api")
    return "there is no Prefect API at"


def unknown_authority(setup: Setup) -> str:
    setup.api_url = f"{setup.healthy.cluster.admin.url}/api"
    return "its certificate is not trusted"


def missing_verb(setup: Setup) -> str:
    jobs, *others = RIGHTS
    verbs = tuple(verb for verb in jobs.verbs if verb != "delete")
    setup.allow(replace(jobs, verbs=verbs), *others)
    return f"this user may not delete jobs in the namespace '{setup.healthy.namespace}'"


def missing_namespace(setup: Setup) -> str:
    setup.env["KUBECONFIG"] = str(setup.healthy.cluster.kubeconfig)
    setup.set_variables(namespace="nowhere")
    return "there is no namespace 'nowhere'"


def empty_quota(setup: Setup) -> str:
    setup.allow(*RIGHTS, Rule("", "resourcequotas", ("list",)))
    spec = {"hard": {"count/jobs.batch": "0", "services": "0"}}
    setup.create("resourcequotas", {"metadata": {"name": "none"}, "spec": spec})
    return "the quota 'none' of the namespace '.*' allows none of 'count/jobs.batch'$"


def missing_image(setup: Setup) -> str:
    setup.set_variables(image=f"{setup.registry.host}/doctor/app:2")
    return "has no image"


def missing_pull_secret(setup: Setup) -> str:
    template = base_job_template("kubernetes")
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["imagePullSecrets"] = [{"name": "pull"}, {"name": "there"}]
    setup.create("secrets", {"metadata": {"name": "there"}, "data": {"a": "c2VjcmV0LXZhbHVl"}})
    undo = {"base_job_template": base_job_template("kubernetes")}
    setup.change(f"/work_pools/{POOL}", {"base_job_template": template}, undo)
    return f"the namespace '{setup.healthy.namespace}' has no secret 'pull'"


def paused_pool(setup: Setup) -> str:
    setup.change(f"/work_pools/{POOL}", {"is_paused": True}, {"is_paused": False})
    return f"the work pool '{POOL}' is paused"


def wrong_type(setup: Setup) -> str:
    setup.healthy.api.pool("far", "ecs")
    setup.args = ("--pool", "far")
    return "the work pool 'far' is of type 'ecs', which deployctl does not run"


def agent_pool(setup: Setup) -> str:
    setup.healthy.api.pool("old", "prefect-agent")
    setup.args = ("--pool", "old")
    return "the work pool 'old' is of type 'prefect-agent', which no worker can serve"


def missing_queue(setup: Setup) -> str:
    setup.write(queue="fast")
    api, path = setup.healthy.api, f"/work_pools/{POOL}/queues"
    api.call("POST", path, {"name": "fast"})
    back = {"work_pool_name": POOL, "work_queue_name": "default"}
    queue = {"work_pool_name": POOL, "work_queue_name": "fast"}
    setup.change(f"/deployments/{setup.healthy.deployment}", queue, back)
    api.call("DELETE", f"{path}/fast")
    return f"the work pool '{POOL}' has no queue 'fast', which prefect.yaml names for 'hello/d'"


def refusing_registry(setup: Setup) -> str:
    setup.write(push=[{PUSH: {"image_name": f"{setup.closed_registry.host}/app", "tag": "1"}}])
    return "cannot push to 'app': the registry .* answers 401"


FAULTS: list[Callable[[Setup], str]] = [
    wrong_key,
    wrong_url,
    unknown_authority,
    missing_verb,
    missing_namespace,
    empty_quota,
    missing_image,
    missing_pull_secret,
    paused_pool,
    wrong_type,
    agent_pool,
    missing_queue,
    refusing_registry,
]
"""Each plants a fault and returns its cause. A wrong clock and a missing engine are other tests."""


def failures(checks: list[Any]) -> list[Any]:
    return [each for each in checks if each["status"] == "failed"]


def test_finds_nothing_wrong_without_a_fault(setup: Setup) -> None:
    image, namespace = setup.healthy.image, setup.healthy.namespace
    setup.write(push=[{PUSH: {"image_name": image.rpartition(":")[0], "tag": "1"}}])
    code, checks = setup.doctor()
    assert failures(checks) == []
    assert code == 0
    made = {each["name"] for each in checks if each["status"] == "ok"}
    assert {
        *("file", "address", "credentials", "clock", "context", f"image {image}"),
        *(f"{namespace}: jobs", f"{namespace}: leases", f"{POOL}: workers"),
        f"push to {image.rpartition(':')[0]}",
    } <= made


def test_names_a_missing_engine_without_which_images_can_be_built(setup: Setup) -> None:
    setup.write(build=[{BUILD: {"image_name": "app", "tag": "1"}}])
    code, checks = setup.doctor()
    assert (code, failures(checks)) == (0, [])
    (engine,) = [each for each in checks if each["name"] == "docker engine"]
    assert engine["status"] == "skipped"
    assert re.search("the container engine at .* does not answer", json.dumps(engine))


@pytest.mark.parametrize("plant", FAULTS, ids=lambda each: each.__name__)
def test_names_the_cause_of_a_fault_and_nothing_else(
    setup: Setup, plant: Callable[[Setup], str]
) -> None:
    cause = plant(setup)
    code, checks = setup.doctor()
    (only,) = failures(checks)
    assert code == 1
    assert only["fix"]
    assert re.search(cause, only["cause"])
