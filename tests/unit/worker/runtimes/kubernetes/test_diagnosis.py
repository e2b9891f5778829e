from __future__ import annotations

import pytest

from deployctl.core.json_values import Json
from deployctl.worker.runtimes.kubernetes.diagnosis import pod_cause
from deployctl.worker.runtimes.kubernetes.fields import main_container_name
from tests.unit.worker.runtimes.kubernetes.objects import (
    LAST,
    condition,
    ended,
    pod,
    running,
    unscheduled,
    waiting,
)

DENIED = (
    'Back-off pulling image "nope:1": ErrImagePull: failed to pull and unpack image '
    '"docker.io/library/nope:1": failed to resolve reference "docker.io/library/nope:1": pull '
    "access denied, repository does not exist or may require authorization: server message: "
    "insufficient_scope: authorization failed"
)
MISSING = (
    'rpc error: code = NotFound desc = failed to pull and unpack image "reg.example/flow:9": '
    'failed to resolve reference "reg.example/flow:9": reg.example/flow:9: not found'
)
LIMITED = (
    'failed to pull and unpack image "docker.io/library/x:1": failed to copy: httpReadSeeker: '
    "failed open: unexpected status code 429 Too Many Requests - toomanyrequests: rate limit"
)
NO_PROGRAM = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc "
    'create failed: unable to start container process: exec: "prefekt": executable file not found '
    "in $PATH: unknown"
)

STUCK = {
    "no access to an image": (
        waiting("ImagePullBackOff", DENIED),
        "ImagePullError",
        "the image 'reg.example/flow:1' cannot be pulled: pull access denied, repository",
        "imagePullSecrets",
    ),
    "an image that is not there": (
        waiting("ErrImagePull", MISSING),
        "ImagePullError",
        "cannot be pulled: not found",
        "it was pushed",
    ),
    "an image for another processor": (
        waiting("ErrImagePull", "no match for platform in manifest: not found"),
        "ImagePullError",
        "no match for platform",
        "",
    ),
    "a registry that does not exist": (
        waiting("ErrImagePull", "dial tcp: lookup reg.example: no such host"),
        "ImagePullError",
        "no such host",
        "reach its registry",
    ),
    "an old cluster that does not repeat the reason": (
        waiting("ImagePullBackOff", 'Back-off pulling image "reg.example/flow:1"'),
        "ImagePullError",
        "the image 'reg.example/flow:1' cannot be pulled",
        "",
    ),
    "an image name with capitals": (
        waiting("InvalidImageName", 'couldn\'t parse image name "Reg/Flow": must be lowercase'),
        "ImageName",
        "is invalid: couldn't parse",
        "lower case",
    ),
    "an image that must not be pulled": (
        waiting(
            "ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never'
        ),
        "ImagePullError",
        "must not be pulled",
        "image_pull_policy",
    ),
    "a missing Secret": (
        waiting("CreateContainerConfigError", 'secret "db" not found'),
        "BadConfig",
        'the job cannot be set up: secret "db" not found',
        "Create what is missing",
    ),
    "a missing key": (
        waiting("CreateContainerConfigError", "couldn't find key url in ConfigMap flows/settings"),
        "BadConfig",
        "couldn't find key url in ConfigMap flows/settings",
        "",
    ),
    "an image that wants to be root": (
        waiting(
            "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
        ),
        "BadConfig",
        "runAsNonRoot",
        "runAsUser",
    ),
    "a container that cannot be made": (
        waiting("CreateContainerError", "no command specified"),
        "NoContainer",
        "cannot be created: no command specified",
        "",
    ),
    "a command that is not there": (
        waiting("RunContainerError", NO_PROGRAM),
        "NoStart",
        'cannot start its command: "prefekt": executable file not found in $PATH',
        "`command`",
    ),
}


@pytest.mark.parametrize(("state", "code", "text", "way"), STUCK.values(), ids=STUCK)
def test_stuck_pods(state: Json, code: str, text: str, way: str) -> None:
    cause = pod_cause(pod("Pending", state))
    assert cause is not None
    assert (cause.code, cause.stuck) == (code, True)
    assert text in cause.message
    assert not cause.message.endswith(".")
    assert way in cause.help


WAITS = {
    "pods of a node that is full": (
        unscheduled(
            "0/3 nodes are available: 1 node(s) had untolerated taint {x: }, 2 Insufficient cpu. "
            "preemption: 0/3 nodes are available: 3 No preemption victims found."
        ),
        "Unschedulable.InsufficientResources",
        "no node can take the pod: 1 node(s) had untolerated taint {x: }, 2 Insufficient cpu",
    ),
    "a taint": (
        unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {gpu: }."),
        "Unschedulable.Taint",
        "untolerated taint {gpu: }",
    ),
    "an affinity": (
        unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector"),
        "Unschedulable.NodeAffinity",
        "affinity",
    ),
    "a volume claim": (
        unscheduled('0/1 nodes are available: persistentvolumeclaim "data" not found.'),
        "Unschedulable",
        'persistentvolumeclaim "data" not found',
    ),
    "a gate": (unscheduled("", "SchedulingGated"), "Gated", "scheduling gate"),
    "a rate limit": (pod("Pending", waiting("ErrImagePull", LIMITED)), "ImagePullError", "429"),
    "a registry that is down": (
        pod(
            "Pending", waiting("ErrImagePull", "dial tcp 10.0.0.1:443: connect: connection refused")
        ),
        "ImagePullError",
        "connection refused",
    ),
    "a crash loop that its Job will end": (
        pod("Running", waiting("CrashLoopBackOff", lastState=ended(1)["state"])),
        "CrashLoopBackOff",
        "the job keeps crashing: it exited with code 1",
    ),
}


@pytest.mark.parametrize(("given", "code", "text"), WAITS.values(), ids=WAITS)
def test_waits_that_end_without_intervention(given: Json, code: str, text: str) -> None:
    cause = pod_cause(given)
    assert cause is not None
    assert (cause.code, cause.stuck) == (code, False)
    assert text in cause.message


def failed(*containers: Json, reason: str = "", message: str = "", target: str = "") -> Json:
    conditions = [condition("DisruptionTarget", target)] if target else []
    status = {"reason": reason, "message": message, "conditions": conditions}
    return pod("Failed", *containers, status=status)


KILLED = ended(137, "Error")
ENDS = {
    "an exit code": (failed(ended(1)), "ExitCode", "the job exited with code 1"),
    "a signal": (failed(KILLED), "Killed", "the job was killed by SIGKILL"),
    "too much memory": (
        failed(ended(137, "OOMKilled")),
        "OOMKilled",
        "it used more memory than its limit of 512Mi",
    ),
    "a node without memory": (
        failed(ended(137, "OOMKilled", name="proxy")),
        "OOMKilled",
        "the container 'proxy' was killed because its node ran out of memory",
    ),
    "its own container before others": (
        failed(ended(2, name="proxy"), ended(3)),
        "ExitCode",
        "the job exited with code 3",
    ),
    "a command that is not there": (
        failed(ended(128, "StartError", message=NO_PROGRAM)),
        "NoStart",
        '"prefekt": executable file not found in $PATH',
    ),
    "an eviction, not the kill that came of it": (
        failed(
            KILLED,
            reason="Evicted",
            message="The node was low on resource: memory. Threshold quantity: 100Mi",
            target="TerminationByKubelet",
        ),
        "Evicted",
        "the pod was evicted: The node was low on resource: memory",
    ),
    "a full disk": (
        failed(reason="Evicted", message="Pod ephemeral local storage usage exceeds the limit 1Gi"),
        "Evicted",
        "ephemeral local storage",
    ),
    "a drained node": (failed(KILLED, target="EvictionByEvictionAPI"), "Evicted", "drained"),
    "a pod of higher priority": (
        failed(KILLED, target="PreemptionByScheduler"),
        "Preempted",
        "higher priority",
    ),
    "the same by the kubelet": (failed(reason="Preempting"), "Preempted", "higher priority"),
    "a node that is not there any more": (
        failed(target="DeletionByPodGC"),
        "NodeLost",
        "not part of the cluster",
    ),
    "a node that stopped answering": (
        failed(target="DeletionByTaintManager"),
        "NodeLost",
        "taint",
    ),
    "a node that is shut down": (failed(reason="Terminated"), "NodeShutdown", "shut down"),
    "a deadline of the pod": (
        failed(reason="DeadlineExceeded"),
        "DeadlineExceeded",
        "activeDeadlineSeconds",
    ),
    "a node that refuses": (
        failed(reason="OutOfcpu", message="Node didn't have enough resource: cpu."),
        "Rejected",
        "(OutOfcpu): Node didn't have enough resource: cpu",
    ),
    "a disruption of another kind": (failed(target="ByMoon"), "Disrupted", "the pod was ended"),
    "a container that is missing after its pod was deleted": (
        pod("Failed", ended(137, "ContainerStatusUnknown"), meta={"deletionTimestamp": LAST}),
        "PodDeleted",
        "the pod was deleted",
    ),
    "a container that is missing": (
        failed(ended(137, "ContainerStatusUnknown")),
        "NodeLost",
        "does not respond",
    ),
    "no reason": (failed(message="odd"), "PodFailed", "the pod failed: odd"),
}


@pytest.mark.parametrize(("given", "code", "text"), ENDS.values(), ids=ENDS)
def test_failed_pods(given: Json, code: str, text: str) -> None:
    cause = pod_cause(given)
    assert cause is not None
    assert cause.code == code
    assert text in cause.message


def with_init(state: Json, phase: str, policy: str | None = None) -> Json:
    return pod(
        phase,
        waiting("PodInitializing"),
        spec={"initContainers": [{"name": "fetch", "restartPolicy": policy}]},
        status={"initContainerStatuses": [state]},
    )


def test_failed_init_container_is_named() -> None:
    cause = pod_cause(with_init(ended(7, name="fetch"), "Failed"))
    assert cause is not None
    assert cause.message == "the init container 'fetch' exited with code 7"


def test_sidecar_that_fails_before_the_start_is_stuck() -> None:
    state = waiting("CrashLoopBackOff", name="fetch")
    cause = pod_cause(with_init(state, "Pending", "Always"))
    assert cause is not None
    assert cause.message == "the sidecar 'fetch' keeps crashing"
    assert cause.stuck


def test_end_of_a_sidecar_explains_no_failure() -> None:
    given = pod(
        "Failed",
        ended(1),
        spec={"initContainers": [{"name": "fetch", "restartPolicy": "Always"}]},
        status={"initContainerStatuses": [ended(143, name="fetch")]},
    )
    cause = pod_cause(given)
    assert cause is not None
    assert cause.message.startswith("the job exited with code 1")


@pytest.mark.parametrize(
    "given",
    [
        pod("Pending"),
        pod("Pending", waiting("ContainerCreating")),
        pod("Running", running()),
        pod("Succeeded", ended(0, "Completed")),
        pod("Succeeded", ended(0), ended(1, name="proxy")),
    ],
)
def test_pods_without_cause(given: Json) -> None:
    assert pod_cause(given) is None


@pytest.mark.parametrize(
    ("names", "main"),
    [(["a", "prefect-job"], "prefect-job"), (["flow", "proxy"], "flow"), ([], "prefect-job")],
)
def test_main_container(names: list[str], main: str) -> None:
    assert main_container_name({"spec": {"containers": [{"name": name} for name in names]}}) == main
