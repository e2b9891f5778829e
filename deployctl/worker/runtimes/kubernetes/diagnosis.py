"""Why a pod waits or failed, in words for the owner of the flow.

The cluster says it in five places (the pod's reason, its conditions, and each container's waiting,
running or terminated state), in the words of whoever noticed. Here they become one `Cause`, that of
the widest reach first: an evicted pod has killed containers, and the eviction is the cause.

Codes are those that Prefect 3's worker gives the label `kubernetes.diagnosis` of its pod events,
where it has one, since automations select by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from deployctl.core.json_values import Json
from deployctl.jobs.manifest import MAIN_CONTAINER
from deployctl.worker.model import Cause
from deployctl.worker.runtimes.exit_codes import exit_cause


def main_container(pod: Json) -> str:
    """The name of the container that runs the flow: CONTAINER, else the first."""
    names = [str(each.get("name", "")) for each in _spec(pod).get("containers") or ()]
    return MAIN_CONTAINER if MAIN_CONTAINER in names or not names else names[0]


def pod_cause(pod: Json) -> Cause | None:
    """Why a pod waits, fails or is about to; None where there is nothing to explain.

    `pod` is the pod's JSON as the API gives it.
    """
    status = pod.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return None
    if phase == "Failed":
        found = pod_reason(pod) or next(_containers(pod), None)
        return found or Cause("PodFailed", _sentence("The pod failed", status.get("message")))
    if phase == "Unknown":
        return _NODE_LOST
    return _disruption(status) or _unplaced(pod) or next(_containers(pod), None)


def pod_reason(pod: Json) -> Cause | None:
    """Why the cluster ended a pod; None where the pod's own containers ended it."""
    status = pod.get("status") or {}
    reason = str(status.get("reason") or "")
    message = one_line(status.get("message"))
    if reason == "Evicted":
        return _evicted(message)
    if reason in ("Preempting", "Preempted"):
        return _DISRUPTIONS["PreemptionByScheduler"]
    if reason == "NodeLost":
        return _NODE_LOST
    if reason in ("Terminated", "Shutdown", "NodeShutdown"):
        return Cause("NodeShutdown", "The node of the pod was shut down", help=_AGAIN)
    if reason == "DeadlineExceeded":
        return Cause(
            "DeadlineExceeded",
            "The pod ran longer than its activeDeadlineSeconds allow",
            help="Raise `activeDeadlineSeconds` in the job manifest, or make the flow quicker.",
        )
    disrupted = _disruption(status)
    if disrupted is None and reason:
        text = _sentence(f"The node did not take the pod ({reason})", message)
        return Cause("Rejected", text, help="The cluster's administrator can say more.")
    return disrupted


_AGAIN = "Such a run can be tried again; `retries` of the flow does not cover it."
_NODE_LOST = Cause("NodeLost", "The node of the pod does not answer any more", help=_AGAIN)
_DELETED = Cause("PodDeleted", "The pod was deleted", help=_AGAIN)
_DISRUPTIONS = {
    "PreemptionByScheduler": Cause(
        "Preempted",
        "The pod had to give way to one of a higher priority",
        help="Give the pool's jobs a `priorityClassName`, or the cluster more room.",
    ),
    "DeletionByTaintManager": Cause(
        "NodeLost",
        "The pod was taken off its node, which has a taint that it does not tolerate (as nodes "
        "get that stop answering)",
        help=_AGAIN,
    ),
    "EvictionByEvictionAPI": Cause(
        "Evicted",
        "The pod was evicted, as happens when a node is drained or scaled down",
        help="`cluster-autoscaler.kubernetes.io/safe-to-evict: 'false'` among the job's "
        "annotations keeps an autoscaler from it.",
    ),
    "DeletionByPodGC": Cause(
        "NodeLost", "The node of the pod is not part of the cluster any more", help=_AGAIN
    ),
    "TerminationByKubelet": Cause(
        "Evicted",
        "The pod was ended by its node, which shuts down or lacks a resource",
        help=_AGAIN,
    ),
}


def _disruption(status: Json) -> Cause | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            fallback = Cause("Disrupted", _sentence("The pod was ended", condition.get("message")))
            return _DISRUPTIONS.get(str(condition.get("reason")), fallback)
    return None


def _evicted(message: str) -> Cause:
    """The kubelet evicts for what its node, or the pod's limit, has run out of."""
    lower = message.lower()
    if "ephemeral" in lower or "emptydir" in lower or "disk" in lower:
        way = "Write less to the container's disk, raise `ephemeral-storage`, or mount a volume."
    elif "memory" in lower:
        way = "Raise `memory_request` to what the flow needs, so that it gets a node with room."
    elif "pid" in lower:
        way = "The node ran out of process ids: start fewer processes at once."
    else:
        way = _AGAIN
    return Cause("Evicted", _sentence("The pod was evicted", message), help=way)


def _unplaced(pod: Json) -> Cause | None:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") != "PodScheduled" or condition.get("status") != "False":
            continue
        if condition.get("reason") == "SchedulingGated":
            return Cause("Gated", "The pod is held back by a scheduling gate")
        if condition.get("reason") == "Unschedulable":
            return unschedulable(one_line(condition.get("message")))
    return None


def unschedulable(message: str) -> Cause:
    """The cause of a pod that the scheduler has no node for; `message` is the scheduler's."""
    told = re.sub(r"^\d+/\d+ nodes are available: ", "", message)
    told = re.sub(r"[.,]? ?preemption: .*$", "", told).rstrip(". ")
    kind = ""
    if short := re.findall(r"Insufficient ([\w./-]+)", told):
        kind, names = ".InsufficientResources", " and ".join(dict.fromkeys(short))
        way = f"Ask for less {names} in the job's requests, or add a node with more of it."
    elif "taint" in told:
        kind = ".Taint"
        way = "Add a toleration for that taint to the job manifest, or a node without it."
    elif "affinity" in told or "selector" in told:
        kind = ".NodeAffinity"
        way = "Look at `nodeSelector` and `affinity` of the job manifest: no node has those labels."
    elif "persistentvolumeclaim" in told.lower() or "volume" in told:
        way = "Look at the volume claim that the job mounts: is it there, bound and in this zone?"
    else:
        way = "The run starts as soon as a node can take it."
    return Cause(f"Unschedulable{kind}", _sentence("No node can take the pod", told), help=way)


def _containers(pod: Json) -> Iterator[Cause]:
    """Causes of a pod's containers: init containers, the flow's own, and then the others.

    Of init containers one with `restartPolicy: Always` is a sidecar; its end is its own affair.
    """
    status, spec = pod.get("status") or {}, _spec(pod)
    main = main_container(pod)
    sidecars = {
        each.get("name")
        for each in spec.get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    }
    failed = status.get("phase") == "Failed"
    for each in status.get("initContainerStatuses") or ():
        name = each.get("name")
        kind = "sidecar" if name in sidecars else "init container"
        if not (failed and name in sidecars):
            yield from _container(pod, each, f"The {kind} '{name}'", loops=name in sidecars)
    own = status.get("containerStatuses") or ()
    for each in sorted(own, key=lambda each: each.get("name") != main):
        name = each.get("name")
        yield from _container(pod, each, "The job" if name == main else f"The container '{name}'")


def _container(pod: Json, status: Json, who: str, *, loops: bool = False) -> Iterator[Cause]:
    """`loops`: restarted for ever, so that a crash loop before the start never ends."""
    state = status.get("state") or {}
    if waiting := state.get("waiting"):
        yield from _waiting(pod, status, waiting, who, loops=loops)
    elif ended := state.get("terminated"):
        yield from _terminated(pod, status, ended, who)


def _waiting(pod: Json, status: Json, waiting: Json, who: str, *, loops: bool) -> Iterator[Cause]:
    reason = str(waiting.get("reason") or "")
    message = one_line(waiting.get("message"))
    if reason in _PULLS:
        yield image_pull(str(status.get("image") or ""), message)
    elif reason == "CrashLoopBackOff":
        last = (status.get("lastState") or {}).get("terminated") or {}
        why = next(_terminated(pod, status, last, "It"), None)
        text = f"{who} ends again and again"
        yield Cause(
            reason,
            f"{text}: {_lower(why.message)}" if why else text,
            help=why.help if why else "Its log says more.",
            stuck=loops,
        )
    elif explain := _WAITS.get(reason):
        yield explain(who, message)


def _terminated(pod: Json, status: Json, ended: Json, who: str) -> Iterator[Cause]:
    reason, code = str(ended.get("reason") or ""), int(ended.get("exitCode") or 0)
    if reason == "OOMKilled":
        limit = _memory_limit(pod, str(status.get("name")))
        of = f" of {limit}" if limit else ""
        way = "Raise `memory_limit` of the pool or the deployment, or make the flow use less."
        text = f"{who} was killed because it used more memory than its limit{of}"
        if not limit:
            text = f"{who} was killed because its node ran out of memory"
            way = "Raise `memory_request` to what the flow needs, so that it gets a node with room."
        yield Cause("OOMKilled", text, help=way)
    elif reason in ("StartError", "ContainerCannotRun"):
        yield no_start(who, one_line(ended.get("message")))
    elif reason == "ContainerStatusUnknown":
        deleted = (pod.get("metadata") or {}).get("deletionTimestamp")
        yield _DELETED if deleted else _NODE_LOST
    elif code:
        cause = exit_cause(code)
        yield replace(cause, message=f"{who}{cause.message.removeprefix('it')}")


def _memory_limit(pod: Json, container: str) -> str:
    spec = _spec(pod)
    for each in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if each.get("name") == container:
            limits = (each.get("resources") or {}).get("limits") or {}
            return str(limits.get("memory") or "")
    return ""


def image_pull(image: str, message: str) -> Cause:
    """The cause of an image that does not come; `message` is the kubelet's or the registry's."""
    told = _registry(message)
    lower = told.lower()
    stuck = True
    if "toomanyrequests" in lower or "429" in lower or "rate limit" in lower:
        way, stuck = "The registry's rate limit is used up: log in to it, or use a mirror.", False
    elif any(word in lower for word in ("denied", "unauthorized", "authoriz", "forbidden")):
        way = "Look at the image's name, and at `imagePullSecrets` if its registry wants a login."
    elif "not found" in lower or "manifest unknown" in lower or "notfound" in lower:
        way = "There is no such image or tag: was it pushed, and is its name spelt right?"
    elif "no match for platform" in lower:
        way = "The image was built for another processor: build it for the nodes' platform."
    elif any(word in lower for word in ("timeout", "refused", "unavailable", "eof", "reset")):
        way, stuck = "The registry does not answer at the moment; the cluster keeps trying.", False
    else:
        way = "Look at the image's name, and whether the nodes can reach its registry."
    text = f"The image '{image}' cannot be pulled" if image else "The image cannot be pulled"
    return Cause("ImagePullError", _sentence(text, told), help=way, stuck=stuck)


_PULLS = frozenset(("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"))
_PREFIX = re.compile(
    r"^(?:rpc error: code = \w+ desc = |Back-off pulling image \"[^\"]*\"(?:: |$)|ErrImagePull: |"
    r"Failed to pull image \"[^\"]*\": |failed to (?:pull and unpack image|resolve reference|"
    r"resolve image|copy|authorize|do request)(?: \"[^\"]*\")?: |"
    r"Error response from daemon: |[a-z0-9./:_-]+@?[a-z0-9:]*: (?=not found))"
)


def _registry(message: str) -> str:
    """What the registry said, without the names of all that passed it on."""
    while match := _PREFIX.match(message):
        message = message[match.end() :]
    return message


def no_start(who: str, message: str) -> Cause:
    """The cause of a container whose process could not be started."""
    match = re.search(r"exec: (\"?[^\"]+\"?): (.*?)(?:: unknown)?$", message)
    told = f"{match[1]}: {match[2]}" if match else message
    return Cause(
        "NoStart",
        _sentence(f"{who} cannot start its command", told),
        help="Is `command` right, and is the program it names in the image?",
        stuck=True,
    )


def _bad_config(who: str, message: str) -> Cause:
    way = "Create what is missing in the namespace of the job, or correct its name in the job."
    if "runAsNonRoot" in message or "non-root" in message:
        way = "Set `runAsUser` in the job manifest, or a `USER` that is a number in the image."
    return Cause("BadConfig", _sentence(f"{who} cannot be set up", message), help=way, stuck=True)


def _no_create(who: str, message: str) -> Cause:
    text = _sentence(f"{who} cannot be created", message)
    way = "Look at the job's volumes, mounts and security settings."
    return Cause("NoContainer", text, help=way, stuck=True)


def _bad_name(_who: str, message: str) -> Cause:
    text = _sentence("The name of the image makes no sense", message)
    way = "An image is called `registry/name:tag` in lower case, without a space or `https://`."
    return Cause("ImageName", text, help=way, stuck=True)


def _never_pull(_who: str, message: str) -> Cause:
    text = _sentence("The image is not on the node, and must not be pulled", message)
    way = "Set `image_pull_policy` to IfNotPresent, or load the image on every node."
    return Cause("ImagePullError", text, help=way, stuck=True)


_WAITS: dict[str, Callable[[str, str], Cause]] = {
    "CreateContainerConfigError": _bad_config,
    "CreateContainerError": _no_create,
    "RunContainerError": no_start,
    "InvalidImageName": _bad_name,
    "ErrImageNeverPull": _never_pull,
    "ImageInspectError": _no_create,
}
"""Reasons of a waiting container that are worth a word. ContainerCreating and PodInitializing are
not: they are how every pod begins."""


def _spec(pod: Json) -> Json:
    return pod.get("spec") or {}


def _sentence(text: str, detail: Json) -> str:
    told = one_line(detail).rstrip(". ")
    return f"{text}: {told}" if told else text


def one_line(text: Json) -> str:
    """A message of the cluster without line breaks and superfluous blanks; "" for none."""
    return " ".join(str(text or "").split())


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
