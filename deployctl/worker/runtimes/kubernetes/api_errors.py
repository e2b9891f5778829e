"""Why the cluster does not take a Job, or makes no pod of it, in words for the owner of the flow.

Quota, admission and the rules of a namespace speak at two moments with the same words: in the
answer to the Job's creation, and in events about a Job whose pods are refused later. Only text
tells them apart; what is not known here is passed on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deployctl.core.json_values import Json
from deployctl.worker.model import Cause
from deployctl.worker.runtimes.kubernetes.diagnosis import image_pull, one_line, unschedulable

_ADMINISTRATOR = "The cluster's administrator can say more."


def api_error_cause(status: int, reason: str, message: str) -> Cause:
    """Why the API server did not create a Job.

    `status` is that of HTTP; `reason` and `message` are those of the answer's Status object.
    """
    message = one_line(message)
    if found := _admission(message):
        return found
    if status == 401:
        return Cause(
            "Unauthorized",
            "The cluster does not know the worker's credentials",
            help="Look at the worker's service account or kubeconfig: it may have expired.",
        )
    if status == 403 and (found := _forbidden(message)):
        return found
    if status == 404:
        match = re.search(r'namespaces? "([^"]+)" not found', message)
        what = f"There is no namespace '{match[1]}'" if match else f"Not found: {message}"
        return Cause("NoNamespace", what, help="Create it, or correct `namespace` in the job.")
    if status in (400, 413, 422):
        return Cause("BadManifest", _bad_manifest(message), help=_LOOK)
    return Cause("Refused", f"The cluster answered {status} ({reason}): {message.rstrip('. ')}")


_LOOK = "Look at the pool's base job template and at the job variables."


def events_cause(events: Sequence[Json]) -> Cause | None:
    """What holds up a Job or a pod, from the events about it in any order; the newest that means
    anything counts. None where none does."""
    for event in sorted(events, key=_event_time, reverse=True):
        explain = _EVENTS.get(str(event.get("reason")))
        if explain is None or event.get("type") != "Warning":
            continue
        if cause := explain(one_line(event.get("message"))):
            return cause
    return None


def _event_time(event: Json) -> str:
    """Times of one cluster are all UTC in one format, but for fractions: they compare as text."""
    series = event.get("series") or {}
    names = ("lastTimestamp", "eventTime", "firstTimestamp")
    seen = [series.get("lastObservedTime"), *(event.get(name) for name in names)]
    return next((str(time) for time in seen if time), "")


def _not_created(message: str) -> Cause:
    told = message.removeprefix("Error creating: ")
    if found := _admission(told):
        return found
    if match := re.search(r'serviceaccount "([^"]+)" not found', told):
        return Cause(
            "NoServiceAccount",
            f"There is no service account '{match[1]}'",
            help="Create it in the namespace of the job, or correct `service_account_name`.",
            stuck=True,
        )
    return _forbidden(told) or Cause("NoPod", f"The Job gets no pod: {told.rstrip('. ')}")


def _mount(message: str) -> Cause:
    told = re.sub(r"^MountVolume\.SetUp failed for volume (\"[^\"]*\") : ", r"volume \1: ", message)
    return Cause(
        "Mount",
        f"A volume of the job cannot be mounted: {told.rstrip('. ')}",
        help="Is the Secret, ConfigMap or volume claim there, in the namespace of the job?",
    )


def _image(message: str) -> Cause | None:
    match = re.search(r'pull(?:ing)? image "([^"]*)"', message)
    return image_pull(match[1], message) if match else None


def _sandbox(message: str) -> Cause:
    return Cause(
        "Network", f"The node cannot set up the pod: {message.rstrip('. ')}", help=_ADMINISTRATOR
    )


_EVENTS = {
    "FailedCreate": _not_created,
    "FailedScheduling": unschedulable,
    "FailedMount": _mount,
    "FailedAttachVolume": _mount,
    "FailedCreatePodSandBox": _sandbox,
    "NetworkNotReady": _sandbox,
    "Failed": _image,
    "ProvisioningFailed": _mount,
}
"""Reasons of warning events that explain why nothing runs. BackOff only repeats that it failed."""


def _admission(message: str) -> Cause | None:
    """The cause of a refusal by one of the cluster's own rules."""
    if match := re.search(
        r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)", message
    ):
        name, wanted, used, limit = match.groups()
        return Cause(
            "Quota",
            f"The quota '{name}' of the namespace is used up: {wanted} more of {limit}, {used} "
            "in use",
            help="Wait for others to end, or ask for less or for a larger quota.",
        )
    if match := re.search(r"failed quota: ([^:]+): must specify (.+)", message):
        return Cause(
            "Quota",
            f"The quota '{match[1]}' of the namespace wants every container to say its {match[2]}",
            help="Set the memory and CPU variables of the pool, or `resources` in the manifest.",
            stuck=True,
        )
    if match := re.search(r'admission webhook "([^"]+)" denied the request:? ?(.*)', message):
        text = f"The admission webhook '{match[1]}' refused it: {match[2]}".rstrip(":. ")
        return Cause("Denied", text, help=_ADMINISTRATOR, stuck=True)
    if match := re.search(r"ValidatingAdmissionPolicy '([^']+)'.*? denied request: (.*)", message):
        text = f"The admission policy '{match[1]}' refused it: {match[2].rstrip('. ')}"
        return Cause("Denied", text, help=_ADMINISTRATOR, stuck=True)
    if match := re.search(r'violates PodSecurity "([^"]+)": (.*)', message):
        text = f"The namespace's pod security '{match[1]}' forbids it: {match[2].rstrip('. ')}"
        way = "Set `securityContext` in the job manifest as the namespace wants it."
        return Cause("PodSecurity", text, help=way, stuck=True)
    if match := re.search(r"((?:minimum|maximum) .+? usage per \w+ is .+)", message):
        text = f"The namespace's limits do not allow it: {match[1].rstrip('. ')}"
        return Cause("LimitRange", text, help="Ask for resources within the limits.", stuck=True)
    return None


def _forbidden(message: str) -> Cause | None:
    """The cause of a refusal for want of rights, or because the namespace is going."""
    if "because it is being terminated" in message:
        return Cause("NoNamespace", "The namespace of the job is being deleted", stuck=True)
    match = re.search(
        r'User "(?P<user>[^"]+)" cannot (?P<verb>\w+) resource "(?P<kind>[^"]+)" in API group '
        r'"(?P<group>[^"]*)"(?: in the namespace "(?P<place>[^"]+)")?',
        message,
    )
    if match is None:
        told = re.sub(r'^[\w.]+ "[^"]*" is forbidden: ', "", message).rstrip(". ")
        return Cause("Forbidden", f"The cluster forbids it: {told}", help=_ADMINISTRATOR)
    group = f" of the API group '{match['group']}'" if match["group"] else ""
    location = f" in the namespace '{match['place']}'" if match["place"] else ""
    return Cause(
        "Forbidden",
        f"'{match['user']}' may not {match['verb']} {match['kind']}{location}",
        help=f"Give it the verb '{match['verb']}' on '{match['kind']}'{group}{location}.",
    )


def _bad_manifest(message: str) -> str:
    """The API server's complaint, with the fields in front."""
    told = re.sub(r'^[\w.]+ "[^"]*" is invalid: ', "", message)
    told = re.sub(r'^Job in version "v1" cannot be handled as a Job: ', "", told)
    if match := re.search(
        r"cannot unmarshal (\w+) into Go struct field [^.]+\.(\S+) of type (\S+)", told
    ):
        path = match[2].removeprefix("spec.template.")
        return f"The job manifest is not valid: {path} is a {match[1]}, and has to be a {match[3]}"
    return f"The job manifest is not valid: {told.strip('[]').rstrip('. ')}"
