"""What is left of a Job that the cluster refuses, and of a watch that it forbids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from deployctl.clients.kubernetes import KubeApiError, KubeClient, Listing
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.worker.model import StartFailed
from deployctl.worker.runtimes.kubernetes.reflector import EventHandler, Reflector, WatchedKind
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
        self.paths: list[str] = []

    def request(self, method: str, path: str, body: Json = None) -> Json:  # noqa: ARG002
        self.paths.append(path)
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


def test_a_job_without_a_namespace_is_created_in_the_one_of_the_worker() -> None:
    cluster = RefusingCluster(KubeApiError(422, "Refused", "spec: invalid"))
    log = RecordingEventLog()
    connect = lambda _: cast("KubeClient", cluster)  # noqa: E731
    runtime = KubernetesRuntime(
        SharedClusters(connect, KubernetesSettings(), log, major=3), "pool", log
    )
    with pytest.raises(StartFailed):
        runtime.start(job_spec("team", configuration={"namespace": None}))
    assert "/apis/batch/v1/namespaces/flows/jobs" in cluster.paths


@pytest.mark.parametrize(("verb", "kind"), [("list", "jobs"), ("watch", "pods")])
def test_a_watch_that_is_forbidden_says_so_once_with_both_ways_out(verb: str, kind: str) -> None:
    text = (
        f'{kind} is forbidden: User "w" cannot {verb} resource "{kind}" in API group "" '
        'in the namespace "flows"'
    )
    log, cancellation = RecordingEventLog(), CancellationToken()

    class ForbiddingCluster:
        """A cluster that forbids lists; the second one ends the test."""

        tries = 0

        def list_objects(self, *_: object) -> Listing:
            self.tries += 1
            if self.tries == 2:
                cancellation.cancel()
            raise KubeApiError(403, "Forbidden", text)

    reflector = Reflector(
        cast("KubeClient", ForbiddingCluster()),
        WatchedKind(kind),
        "flows",
        "",
        cast("EventHandler", None),
        log,
        clock=lambda: 1.0,
    )
    reflector.run(cancellation)
    help_ = (
        f"Grant it the verb '{verb}' on '{kind}' in the namespace 'flows', as `deployctl manifests "
        "worker --job-namespace flows` does, or set `namespace` in the work pool's base job "
        "template to one in which it may."
    )
    assert reflector.forbidden
    assert reflector.problem == f"the Kubernetes API returned an error (403): {text}. {help_}"
    assert log.warnings == ["watch.forbidden"]
