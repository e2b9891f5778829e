"""The objects of a stack follow from its settings and from the values of its worker."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from deployctl.app.operating.generated_password import ensure_password
from deployctl.cli.render.manifests import manifests
from deployctl.clients.kubernetes import KubeApiError
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.manifests.components import StackSettings
from deployctl.manifests.stack import check_stack
from deployctl.manifests.values import default_values, merged
from deployctl.manifests.worker import worker_objects
from tests.support.manifest_cases import at
from tests.support.stack_cases import STACK_CASES, StackCase


@pytest.mark.parametrize("case", STACK_CASES, ids=lambda case: case.id)
def test_objects_follow_from_settings(case: StackCase) -> None:
    objects = case.render()
    assert {path: at(objects, path) for path in case.expected} == dict(case.expected)
    assert list(yaml.safe_load_all(manifests(objects))) == objects


def test_worker_is_that_of_manifests_worker() -> None:
    (case,) = (each for each in STACK_CASES if each.id == "defaults")
    url = "http://prefect-server.default.svc:4200/api"
    own = {"config": {"workPool": "my-pool"}, "selfHostedServerApiConfig": {"apiUrl": url}}
    objects = case.render()
    worker = worker_objects(merged(default_values(), {"worker": own}))
    assert objects[-len(worker) :] == worker


@pytest.mark.parametrize(
    ("worker", "prefect", "message"),
    [
        ({"apiConfig": "cloud"}, 3, "'worker.apiConfig' is 'cloud'"),
        (
            {"selfHostedServerApiConfig": {"basicAuth": {"enabled": True}}},
            2,
            "a server of Prefect 2 has no authentication",
        ),
    ],
)
def test_values_that_a_stack_cannot_have(worker: Json, prefect: int, message: str) -> None:
    report = Report()
    values = merged(default_values(), {"worker": worker})
    check_stack(values, StackSettings(prefect=prefect), report)
    (found,) = report
    assert found.code == "DC803"
    assert message in found.message


class Secrets:
    """A cluster with one Secret, which another client may change before it is patched."""

    namespace = "n"

    def __init__(self, data: dict[str, str] | None, theirs: dict[str, str] | None = None) -> None:
        self.data = data
        self.version = 1
        self._theirs = theirs

    def request(self, method: str, path: str, *, body: Any = None) -> Json:
        assert path == "/api/v1/namespaces/n/secrets/s"
        if method == "GET":
            data = {} if self.data is None else {"data": self.data}
            return {"metadata": {"resourceVersion": str(self.version)}, **data}
        if self._theirs:
            self.data, self._theirs, self.version = self._theirs, None, 2
        if body["metadata"]["resourceVersion"] != str(self.version):
            raise KubeApiError(409, "Conflict", "the object has been modified")
        self.data = body["data"]
        return None


def ensure(kube: Any) -> bool:
    return ensure_password(kube, "s", "password")


def test_password_is_generated_once() -> None:
    kube = Secrets(None)
    assert ensure(kube)
    assert kube.data is not None
    first = kube.data["password"]
    assert len(base64.b64decode(first)) == 48
    assert not ensure(kube)
    assert kube.data["password"] == first


def test_of_two_passwords_one_is_kept() -> None:
    kube = Secrets({}, theirs={"password": "theirs"})
    assert not ensure(kube)
    assert kube.data == {"password": "theirs"}
