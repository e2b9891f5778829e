"""Causes of a pod's wait or failure, from the pod's JSON, in words for the owner of the flow.

The cluster reports them in five places (the pod's reason, its conditions, and each container's
waiting, running or terminated state), in the words of the component that noticed. Here they become
one `Cause`, that of the widest scope first: an evicted pod has killed containers, and the eviction
is the cause.

Codes are those that Prefect 3's worker sets as label `kubernetes.diagnosis` of its pod events,
if it has one, because automations select by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from deployctl.core.json_values import Json
from deployctl.worker.model import Cause
from deployctl.worker.runtimes.cause_rules import CauseRule, first_match
from deployctl.worker.runtimes.exit_codes import exit_cause
from deployctl.worker.runtimes.kubernetes.fields import (
    main_container_name,
    one_line,
    true_condition,
)

_RETRY = "Such a run can be retried; `retries` of the flow does not cover it."
_MORE_MEMORY = (
    "Raise `memory_request` to what the flow needs, so that it gets a node with enough memory."
)
_NODE_LOST = Cause("NodeLost", "the node of the pod does not respond any more", _RETRY)
_NODE_SHUTDOWN = Cause("NodeShutdown", "the node of the pod was shut down", _RETRY)
_DELETED = Cause("PodDeleted", "the pod was deleted", _RETRY)
_PREEMPTED = Cause(
    "Preempted",
    "the pod was preempted by one of a higher priority",
    "Set a `priorityClassName` for the pool's jobs, or add nodes to the cluster.",
)

_DISRUPTIONS = {
    "PreemptionByScheduler": _PREEMPTED,
    "DeletionByTaintManager": Cause(
        "NodeLost",
        "the pod was removed from its node, which has a taint that it does not tolerate (as nodes "
        "get that stop responding)",
        _RETRY,
    ),
    "EvictionByEvictionAPI": Cause(
        "Evicted",
        "the pod was evicted, as happens when a node is drained or scaled down",
        "Set the annotation `cluster-autoscaler.kubernetes.io/safe-to-evict: 'false'` on the job "
        "to exclude it from autoscaling.",
    ),
    "DeletionByPodGC": Cause(
        "NodeLost", "the node of the pod is not part of the cluster any more", _RETRY
    ),
    "TerminationByKubelet": Cause(
        "Evicted",
        "the pod was ended by its node, which is shutting down or short of a resource",
        _RETRY,
    ),
}
"""By `reason` of the condition DisruptionTarget."""

_POD_REASONS = {
    "Preempting": _PREEMPTED,
    "Preempted": _PREEMPTED,
    "NodeLost": _NODE_LOST,
    "Terminated": _NODE_SHUTDOWN,
    "Shutdown": _NODE_SHUTDOWN,
    "NodeShutdown": _NODE_SHUTDOWN,
    "DeadlineExceeded": Cause(
        "DeadlineExceeded",
        "the pod ran longer than its activeDeadlineSeconds allow",
        "Raise `activeDeadlineSeconds` in the job manifest, or make the flow faster.",
    ),
}
"""By the pod's `status.reason`."""

_EVICTIONS = tuple(
    CauseRule(pattern, "Evicted", "the pod was evicted: {detail}", help_)
    for pattern, help_ in (
        (
            "(?i)ephemeral|emptydir|disk",
            "Write less to the container's disk, raise `ephemeral-storage`, or mount a volume.",
        ),
        ("(?i)memory", _MORE_MEMORY),
        ("(?i)pid", "The node ran out of process ids: start fewer processes at once."),
        ("", _RETRY),
    )
)
"""By what the node, or the pod's limit, has run out of."""

_UNSCHEDULABLE = tuple(
    CauseRule(pattern, f"Unschedulable{suffix}", "no node can take the pod: {detail}", help_)
    for pattern, suffix, help_ in (
        (
            r"Insufficient [\w./-]+",
            ".InsufficientResources",
            "Lower {resources} in the job's requests, or add a node with more of it.",
        ),
        (
            "taint",
            ".Taint",
            "Add a toleration for that taint to the job manifest, or a node without it.",
        ),
        (
            "affinity|selector",
            ".NodeAffinity",
            "Check `nodeSelector` and `affinity` of the job manifest: no node has those labels.",
        ),
        (
            "(?i:persistentvolumeclaim)|volume",
            "",
            "Check that the volume claim of the job exists, is bound, and is in this zone.",
        ),
        ("", "", "The run starts as soon as a node can take it."),
    )
)

_PULL_ERRORS = tuple(
    CauseRule(pattern, "ImagePullError", "{image} cannot be pulled: {detail}", help_, stuck)
    for pattern, help_, stuck in (
        (
            "(?i)toomanyrequests|429|rate limit",
            "The registry's rate limit is used up: log in to it, or use a mirror.",
            False,
        ),
        (
            "(?i)denied|unauthorized|authoriz|forbidden",
            "Check the image's name, and set `imagePullSecrets` if its registry needs a login.",
            True,
        ),
        (
            "(?i)not found|manifest unknown|notfound",
            "There is no such image or tag: check that it was pushed and how its name is spelt.",
            True,
        ),
        (
            "(?i)no match for platform",
            "The image was built for another processor: build it for the nodes' platform.",
            True,
        ),
        (
            "(?i)timeout|refused|unavailable|eof|reset",
            "The registry does not respond at the moment; the cluster keeps trying.",
            False,
        ),
        ("", "Check the image's name, and that the nodes can reach its registry.", True),
    )
)

_NO_START_HELP = "Check that `command` is right and that the program it names is in the image."
_NO_START = (
    CauseRule(
        r"exec: (\"?[^\"]+\"?): (.*?)(?:: unknown)?$",
        "NoStart",
        "{who} cannot start its command: {1}: {2}",
        _NO_START_HELP,
        stuck=True,
    ),
    CauseRule(
        "", "NoStart", "{who} cannot start its command: {detail}", _NO_START_HELP, stuck=True
    ),
)
_NOT_CREATED = (
    CauseRule(
        "",
        "NoContainer",
        "{who} cannot be created: {detail}",
        "Check the job's volumes, mounts and security settings.",
        stuck=True,
    ),
)
_PULL_REASONS = frozenset(("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"))
_WAITING_REASONS = {
    "CreateContainerConfigError": (
        CauseRule(
            "runAsNonRoot|non-root",
            "BadConfig",
            "{who} cannot be set up: {detail}",
            "Set `runAsUser` in the job manifest, or a numeric `USER` in the image.",
            stuck=True,
        ),
        CauseRule(
            "",
            "BadConfig",
            "{who} cannot be set up: {detail}",
            "Create what is missing in the namespace of the job, or correct its name in the job.",
            stuck=True,
        ),
    ),
    "CreateContainerError": _NOT_CREATED,
    "RunContainerError": _NO_START,
    "InvalidImageName": (
        CauseRule(
            "",
            "ImageName",
            "the name of the image is invalid: {detail}",
            "Write the image as `registry/name:tag` in lower case, without spaces or `https://`.",
            stuck=True,
        ),
    ),
    "ErrImageNeverPull": (
        CauseRule(
            "",
            "ImagePullError",
            "the image is not on the node, and must not be pulled: {detail}",
            "Set `image_pull_policy` to IfNotPresent, or load the image on every node.",
            stuck=True,
        ),
    ),
    "ImageInspectError": _NOT_CREATED,
}
"""By the reason of a waiting container. ContainerCreating and PodInitializing are left out: every
pod begins with them."""


def pod_cause(pod: Json) -> Cause | None:
    """Why a pod waits, failed or is about to fail; None if there is nothing to explain.

    `pod` is the pod's JSON as returned by the API.
    """
    status = pod.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return None
    if phase == "Failed":
        found = pod_reason(pod) or next(_container_causes(pod), None)
        return found or Cause("PodFailed", _sentence("the pod failed", status.get("message")))
    if phase == "Unknown":
        return _NODE_LOST
    return _disruption(status) or _scheduling_cause(pod) or next(_container_causes(pod), None)


def pod_reason(pod: Json) -> Cause | None:
    """Why the cluster ended a pod; None if the pod's own containers ended it."""
    status = pod.get("status") or {}
    reason = str(status.get("reason") or "")
    message = one_line(status.get("message"))
    if reason == "Evicted":
        return first_match(_EVICTIONS, message, detail=message)
    if reason in _POD_REASONS:
        return _POD_REASONS[reason]
    disruption = _disruption(status)
    if disruption is None and reason:
        text = _sentence(f"the node did not take the pod ({reason})", message)
        return Cause("Rejected", text, "Ask the cluster's administrator.")
    return disruption


def unschedulable(message: str) -> Cause | None:
    """The cause of a pod for which the scheduler has no node, from the scheduler's message."""
    detail = re.sub(r"^\d+/\d+ nodes are available: ", "", message)
    detail = re.sub(r"[.,]? ?preemption: .*$", "", detail).rstrip(". ")
    resources = " and ".join(dict.fromkeys(re.findall(r"Insufficient ([\w./-]+)", detail)))
    return first_match(_UNSCHEDULABLE, detail, detail=detail, resources=resources)


def image_pull(image: str, message: str) -> Cause | None:
    """The cause of an image that cannot be pulled, from the kubelet's or registry's message."""
    detail = _registry_message(message)
    subject = f"the image '{image}'" if image else "the image"
    return first_match(_PULL_ERRORS, detail, image=subject, detail=detail)


def _disruption(status: Json) -> Cause | None:
    condition = true_condition(status, "DisruptionTarget")
    if condition is None:
        return None
    fallback = Cause("Disrupted", _sentence("the pod was ended", condition.get("message")))
    return _DISRUPTIONS.get(str(condition.get("reason")), fallback)


def _scheduling_cause(pod: Json) -> Cause | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") != "PodScheduled" or condition.get("status") != "False":
            continue
        if condition.get("reason") == "SchedulingGated":
            return Cause("Gated", "the pod is held back by a scheduling gate")
        if condition.get("reason") == "Unschedulable":
            return unschedulable(one_line(condition.get("message")))
    return None


def _container_causes(pod: Json) -> Iterator[Cause]:
    """Causes of a pod's containers: init containers, the main container, then the others.

    An init container with `restartPolicy: Always` is a sidecar; its end does not fail the pod, and
    if it crashes before the start of the main container, it does so for ever.
    """
    status = pod.get("status") or {}
    main = main_container_name(pod)
    sidecars = {
        each.get("name")
        for each in _spec(pod).get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    }
    failed = status.get("phase") == "Failed"
    for each in status.get("initContainerStatuses") or ():
        name = each.get("name")
        is_sidecar = name in sidecars
        who = f"the {'sidecar' if is_sidecar else 'init container'} '{name}'"
        cause = _container_cause(pod, each, who, restarts_forever=is_sidecar)
        if cause and not (failed and is_sidecar):
            yield cause
    containers = status.get("containerStatuses") or ()
    for each in sorted(containers, key=lambda each: each.get("name") != main):
        name = each.get("name")
        who = "the job" if name == main else f"the container '{name}'"
        if cause := _container_cause(pod, each, who):
            yield cause


def _container_cause(
    pod: Json, status: Json, who: str, *, restarts_forever: bool = False
) -> Cause | None:
    state = status.get("state") or {}
    waiting = state.get("waiting")
    if not waiting:
        return _terminated_cause(pod, status, state.get("terminated") or {}, who)
    reason = str(waiting.get("reason") or "")
    message = one_line(waiting.get("message"))
    if reason in _PULL_REASONS:
        return image_pull(str(status.get("image") or ""), message)
    if reason == "CrashLoopBackOff":
        last = (status.get("lastState") or {}).get("terminated") or {}
        why = _terminated_cause(pod, status, last, "it")
        text = _sentence(f"{who} keeps crashing", why.message if why else "")
        help_ = why.help if why else "Its log says more."
        return Cause(reason, text, help_, stuck=restarts_forever)
    return first_match(_WAITING_REASONS.get(reason, ()), message, who=who, detail=message)


def _terminated_cause(pod: Json, status: Json, terminated: Json, who: str) -> Cause | None:
    reason, code = str(terminated.get("reason") or ""), int(terminated.get("exitCode") or 0)
    if reason == "OOMKilled":
        return _out_of_memory(who, _memory_limit(pod, str(status.get("name"))))
    if reason in ("StartError", "ContainerCannotRun"):
        message = one_line(terminated.get("message"))
        return first_match(_NO_START, message, who=who, detail=message)
    if reason == "ContainerStatusUnknown":
        deleted = (pod.get("metadata") or {}).get("deletionTimestamp")
        return _DELETED if deleted else _NODE_LOST
    if not code:
        return None
    cause = exit_cause(code)
    return replace(cause, message=f"{who}{cause.message.removeprefix('it')}")


def _out_of_memory(who: str, limit: str) -> Cause:
    if not limit:
        return Cause(
            "OOMKilled", f"{who} was killed because its node ran out of memory", _MORE_MEMORY
        )
    return Cause(
        "OOMKilled",
        f"{who} was killed because it used more memory than its limit of {limit}",
        "Raise `memory_limit` of the pool or the deployment, or make the flow use less memory.",
    )


def _memory_limit(pod: Json, container: str) -> str:
    spec = _spec(pod)
    for each in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if each.get("name") == container:
            limits = (each.get("resources") or {}).get("limits") or {}
            return str(limits.get("memory") or "")
    return ""


_RELAYED = re.compile(
    r"^(?:rpc error: code = \w+ desc = |Back-off pulling image \"[^\"]*\"(?:: |$)|ErrImagePull: |"
    r"Failed to pull image \"[^\"]*\": |failed to (?:pull and unpack image|resolve reference|"
    r"resolve image|copy|authorize|do request)(?: \"[^\"]*\")?: |"
    r"Error response from daemon: |[a-z0-9./:_-]+@?[a-z0-9:]*: (?=not found))"
)


def _registry_message(message: str) -> str:
    """The registry's own message, without the prefixes of the components that relayed it."""
    while match := _RELAYED.match(message):
        message = message[match.end() :]
    return message


def _spec(pod: Json) -> Json:
    return pod.get("spec") or {}


def _sentence(text: str, detail: Json) -> str:
    detail = one_line(detail).rstrip(". ")
    return f"{text}: {detail}" if detail else text
