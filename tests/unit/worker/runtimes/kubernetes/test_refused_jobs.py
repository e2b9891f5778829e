"""What is left of a Job that the cluster refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from deployctl.clients.kubernetes import KubeApiError, KubeClient
from deployctl.core.json_values import Json
from deployctl.worker.model import StartFailed
from deployctl.worker.runtimes.kubernetes.runtime import KubernetesRuntime, SharedClusters
from deployctl.worker.settings import KubernetesSettings
from tests.support.kubernetes_jobs import RecordingEventLog, job_spec

QUOTA = "exceeded quota: small, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: "
QUOTA += "count/jobs.batch=1"


class RefusingCluster:
    """A cluster that creates Secrets and no Jobs."""

    namespace = "flows"
    source = "context 'lab'"
    host = "https://lab"
    clock = staticmethod(lambda: 0.0)

    def __init__(self, refusal: KubeApiError) -> None:
        self.refusal = refusal
        self.requests: list[str] = []

    def request(self, method: str, path: str, body: Json = None) -> Json:  # noqa: ARG002
        kind = path.split("/namespaces/")[-1].split("/")[1:2]
        self.requests.append(" ".join((method, *kind)))
        if kind == ["jobs"]:
            raise self.refusal if method == "POST" else KubeApiError(404, "NotFound", "no Job")
        return {"metadata": {"uid": "lab"}}


@pytest.mark.parametrize(
    ("status", "text", "deleted"), [(403, QUOTA, False), (422, "spec.template: invalid", True)]
)
def test_the_secret_is_kept_while_the_refusal_may_pass(
    status: int, text: str, deleted: bool
) -> None:
    """Another worker may create the same Job, and uses the same Secret."""
    cluster = RefusingCluster(KubeApiError(status, "Refused", text))

    def connect(_: Mapping[str, Json] | None) -> KubeClient:
        return cast("KubeClient", cluster)

    log = RecordingEventLog()
    shared = SharedClusters(connect, KubernetesSettings(), log, major=3)
    runtime = KubernetesRuntime(shared, "pool", log)
    with pytest.raises(StartFailed):
        runtime.start(job_spec("flows"))
    assert cluster.requests[1:3] == ["POST secrets", "POST jobs"]
    assert ("DELETE secrets" in cluster.requests) is deleted
