"""Causes of a Job that the cluster refuses, or for which it creates no pod.

Quota, admission and the rules of a namespace use the same words in two places: in the answer to the
creation of the Job, and in Events about a Job whose pods are refused later. They differ only
in their text; unknown messages are passed on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from deployctl.core.json_values import Json
from deployctl.worker.model import Cause
from deployctl.worker.runtimes.cause_rules import CauseRule, first_match
from deployctl.worker.runtimes.kubernetes.diagnosis import image_pull, unschedulable
from deployctl.worker.runtimes.kubernetes.fields import one_line

_ASK_ADMINISTRATOR = "Ask the cluster's administrator."
_CHECK_TEMPLATE = "Check the pool's base job template and the job variables."

_ADMISSION = (
    CauseRule(
        "exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)",
        "Quota",
        "the quota '{1}' of the namespace is used up: {2} more of {4}, {3} in use",
        "Wait for other jobs to end, or request less or a larger quota.",
    ),
    CauseRule(
        "failed quota: ([^:]+): must specify (.+)",
        "Quota",
        "the quota '{1}' of the namespace requires every container to specify {2}",
        "Set the memory and CPU variables of the pool, or `resources` in the manifest.",
        stuck=True,
    ),
    CauseRule(
        'admission webhook "([^"]+)" denied the request:? ?(.*)',
        "Denied",
        "the admission webhook '{1}' refused it: {2}",
        _ASK_ADMINISTRATOR,
        stuck=True,
    ),
    CauseRule(
        r"ValidatingAdmissionPolicy '([^']+)'.*? denied request: (.*)",
        "Denied",
        "the admission policy '{1}' refused it: {2}",
        _ASK_ADMINISTRATOR,
        stuck=True,
    ),
    CauseRule(
        'violates PodSecurity "([^"]+)": (.*)',
        "PodSecurity",
        "the namespace's pod security '{1}' forbids it: {2}",
        "Set `securityContext` in the job manifest as the namespace requires.",
        stuck=True,
    ),
    CauseRule(
        r"((?:minimum|maximum) .+? usage per \w+ is .+)",
        "LimitRange",
        "the namespace's limits do not allow it: {1}",
        "Request resources within the limits.",
        stuck=True,
    ),
)
"""Refusals by the cluster's own rules."""

_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "Ki": 1024.0} | {
    f"{prefix}{i}": base**power
    for power, prefix in enumerate("MGTPE", 2)
    for i, base in (("", 1e3), ("i", 1024.0))
}
"""Factors of the suffixes of quantities, such as those of 500m and 2Gi."""

_NO_SERVICE_ACCOUNT = CauseRule(
    r'serviceaccount "([^"]+)" not found',
    "NoServiceAccount",
    "there is no service account '{1}'",
    "Create it in the namespace of the job, or correct `service_account_name`.",
    stuck=True,
)

_FORBIDDEN = (
    CauseRule(
        "because it is being terminated",
        "NoNamespace",
        "the namespace of the job is being deleted",
        stuck=True,
    ),
    CauseRule(
        r'^(?:[\w.]+ "[^"]*" is forbidden: )?(.*)',
        "Forbidden",
        "the cluster forbids it: {1}",
        _ASK_ADMINISTRATOR,
    ),
)
"""Refusals for other reasons than a missing right; matches every message."""

_MISSING_RIGHT = re.compile(
    r'User "([^"]+)" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"'
    r'(?: in the namespace "([^"]+)")?'
)

_NOT_FOUND = (
    CauseRule(
        'namespaces? "([^"]+)" not found',
        "NoNamespace",
        "there is no namespace '{1}'",
        "Create it, or correct `namespace` in the job.",
    ),
    CauseRule(
        "(.*)", "NoNamespace", "not found: {1}", "Create it, or correct `namespace` in the job."
    ),
)

_INVALID_PREFIX = (
    r'^(?:[\w.]+ "[^"]*" is invalid: |Job in version "v1" cannot be handled as a Job: )?'
)
_INVALID = (
    CauseRule(
        r"cannot unmarshal (\w+) into Go struct field [^.]+\.(?:spec\.template\.)?(\S+) of type "
        r"(\S+)",
        "BadManifest",
        "the job manifest is not valid: {2} is a {1}, and has to be a {3}",
        _CHECK_TEMPLATE,
    ),
    CauseRule(
        _INVALID_PREFIX + r"\[?(.*?)[\]. ]*$",
        "BadManifest",
        "the job manifest is not valid: {1}",
        _CHECK_TEMPLATE,
    ),
)

_MOUNT_MESSAGE = "a volume of the job cannot be mounted: "
_MOUNT_HELP = "Check that the Secret, ConfigMap or volume claim exists in the namespace of the job."
_MOUNT = (
    CauseRule(
        r"^MountVolume\.SetUp failed for volume (\"[^\"]*\") : (.*)",
        "Mount",
        _MOUNT_MESSAGE + "volume {1}: {2}",
        _MOUNT_HELP,
    ),
    CauseRule("(.*)", "Mount", _MOUNT_MESSAGE + "{1}", _MOUNT_HELP),
)
_SANDBOX = (
    CauseRule("(.*)", "Network", "the node cannot set up the pod: {1}", _ASK_ADMINISTRATOR),
)


def api_error_cause(status: int, reason: str, message: str) -> Cause:
    """Why the API server did not create a Job, or did not list the worker's objects.

    `status` is the HTTP status; `reason` and `message` are those of the response's Status object.
    """
    message = one_line(message)
    cause = _admission(message)
    if cause is None and status == 401:
        return Cause(
            "Unauthorized",
            "the cluster does not accept the worker's credentials",
            "Check the worker's service account or kubeconfig: it may have expired.",
        )
    if cause is None and status == 403:
        cause = _forbidden(message, to_worker=True)
    elif cause is None and status == 404:
        cause = first_match(_NOT_FOUND, message)
    elif cause is None and status in (400, 413, 422):
        cause = first_match(_INVALID, message)
    text = f"the cluster answered {status} ({reason}): {message.rstrip('. ')}"
    return cause or Cause("Refused", text)


def events_cause(events: Sequence[Json]) -> Cause | None:
    """What holds up a Job or a pod, from the Events about it, in any order.

    The newest Event that explains something counts. None if none does.
    """
    for event in sorted(events, key=_event_time, reverse=True):
        explain = _EVENTS.get(str(event.get("reason")))
        if explain is None or event.get("type") != "Warning":
            continue
        if cause := explain(one_line(event.get("message"))):
            return cause
    return None


def _admission(message: str) -> Cause | None:
    """The cause of a refusal by the cluster's own rules.

    A quota that is smaller than what is requested never admits it; any other one may later.
    """
    cause = first_match(_ADMISSION, message)
    amounts = re.search("requested: (.+?), used: .+?, limited: (.+)", message)
    if cause is None or cause.code != "Quota" or amounts is None:
        return cause
    requested, limited = map(_amounts, amounts.groups())
    if all(amount <= limited.get(name, amount) for name, amount in requested.items()):
        return cause
    return replace(cause, help="Request less or a larger quota.", stuck=True)


def _amounts(text: str) -> Mapping[str, float]:
    """Quantities by resource, from e.g. `pods=1,limits.memory=2Gi`; unknown ones are left out."""
    found = re.findall(r"([^,=\s]+)=([\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)", text)
    return {
        name: float(number) * _SUFFIXES[suffix]
        for name, number, suffix in found
        if suffix in _SUFFIXES
    }


def _forbidden(message: str, to_worker: bool = False) -> Cause | None:
    """The cause of a refusal for a missing right, `to_worker` or to a controller of the cluster."""
    match = _MISSING_RIGHT.search(message)
    if match is None:
        return first_match(_FORBIDDEN, message)
    user, verb, resource, group, namespace = match.groups()
    of_group = f" of the API group '{group}'" if group else ""
    in_namespace = f" in the namespace '{namespace}'" if namespace else ""
    help_ = f"Grant it the verb '{verb}' on '{resource}'{of_group}{in_namespace}"
    if to_worker and namespace:
        help_ += (
            f", as `deployctl manifests worker --job-namespace {namespace}` does, or set "
            "`namespace` in the work pool's base job template to one in which it may"
        )
    return Cause("Forbidden", f"'{user}' may not {verb} {resource}{in_namespace}", f"{help_}.")


def _event_time(event: Json) -> str:
    """The time of an Event. Those of one cluster are UTC in one format and compare as text."""
    series = event.get("series") or {}
    names = ("lastTimestamp", "eventTime", "firstTimestamp")
    times = [series.get("lastObservedTime"), *(event.get(name) for name in names)]
    return next((str(time) for time in times if time), "")


def _pod_not_created(message: str) -> Cause | None:
    message = message.removeprefix("Error creating: ")
    known = _admission(message) or _NO_SERVICE_ACCOUNT.match(message)
    return known or _forbidden(message)


def _pull_failed(message: str) -> Cause | None:
    match = re.search(r'pull(?:ing)? image "([^"]*)"', message)
    return image_pull(match[1], message) if match else None


_mount_failed = partial(first_match, _MOUNT)
_sandbox_failed = partial(first_match, _SANDBOX)
_EVENTS: dict[str, Callable[[str], Cause | None]] = {
    "FailedCreate": _pod_not_created,
    "FailedScheduling": unschedulable,
    "FailedMount": _mount_failed,
    "FailedAttachVolume": _mount_failed,
    "FailedCreatePodSandBox": _sandbox_failed,
    "NetworkNotReady": _sandbox_failed,
    "Failed": _pull_failed,
    "ProvisioningFailed": _mount_failed,
}
"""By the reason of warning Events that explain why nothing runs. BackOff is left out: it only
repeats that something failed."""
