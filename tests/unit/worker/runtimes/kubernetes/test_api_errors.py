from __future__ import annotations

from itertools import permutations

import pytest

from deployctl.core.json_values import Json
from deployctl.worker.runtimes.kubernetes.api_errors import api_error_cause, events_cause

QUOTA = "exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4"

REFUSALS: dict[str, tuple[int, str, str, str, str]] = {
    "a field of the wrong value": (
        422,
        "Invalid",
        'Job.batch "hello" is invalid: spec.template.spec.containers[0].image: Required value',
        "BadManifest",
        "the job manifest is not valid: spec.template.spec.containers[0].image: Required value",
    ),
    "several": (
        422,
        "Invalid",
        'Job.batch "hello" is invalid: [spec.a: Required value, spec.b: Forbidden: may not]',
        "BadManifest",
        "not valid: spec.a: Required value, spec.b: Forbidden: may not",
    ),
    "a field of the wrong type": (
        400,
        "BadRequest",
        'Job in version "v1" cannot be handled as a Job: json: cannot unmarshal string into Go '
        "struct field JobSpec.spec.backoffLimit of type int32",
        "BadManifest",
        "not valid: spec.backoffLimit is a string, and has to be a int32",
    ),
    "no right": (
        403,
        "Forbidden",
        'jobs.batch is forbidden: User "system:serviceaccount:a:worker" cannot create resource '
        '"jobs" in API group "batch" in the namespace "flows"',
        "Forbidden",
        "'system:serviceaccount:a:worker' may not create jobs in the namespace 'flows'",
    ),
    "quota": (
        403,
        "Forbidden",
        f'jobs.batch "hello" is forbidden: {QUOTA}',
        "Quota",
        "the quota 'small' of the namespace is used up: pods=1 more of pods=4, pods=4 in use",
    ),
    "a namespace that goes": (
        403,
        "Forbidden",
        'jobs.batch "hello" is forbidden: unable to create new content in namespace flows because '
        "it is being terminated",
        "NoNamespace",
        "being deleted",
    ),
    "no such namespace": (
        404,
        "NotFound",
        'namespaces "nope" not found',
        "NoNamespace",
        "there is no namespace 'nope'",
    ),
    "a webhook": (
        400,
        "BadRequest",
        'admission webhook "policy.example.com" denied the request: no team label.',
        "Denied",
        "the admission webhook 'policy.example.com' refused it: no team label",
    ),
    "a policy": (
        422,
        "Invalid",
        "jobs.batch \"hello\" is forbidden: ValidatingAdmissionPolicy 'team' with binding 'all' "
        "denied request: no team label",
        "Denied",
        "the admission policy 'team' refused it: no team label",
    ),
    "stale credentials": (401, "Unauthorized", "Unauthorized", "Unauthorized", "credentials"),
    "anything else": (405, "MethodNotAllowed", "odd", "Refused", "405 (MethodNotAllowed): odd"),
}


@pytest.mark.parametrize(
    ("status", "reason", "message", "code", "text"), REFUSALS.values(), ids=REFUSALS
)
def test_api_error_cause(status: int, reason: str, message: str, code: str, text: str) -> None:
    cause = api_error_cause(status, reason, message)
    assert cause.code == code
    assert text in cause.message


@pytest.mark.parametrize(
    ("requested", "limited", "never_fits"),
    [
        ("pods=1", "pods=4", False),
        ("pods=1", "pods=0", True),
        ("limits.memory=2Gi", "limits.memory=2048Mi", False),
        ("limits.memory=2Gi", "limits.memory=2G", True),
        ("pods=1,requests.cpu=1500m", "pods=4,requests.cpu=1", True),
        ("requests.cpu=1e3m", "requests.cpu=1", False),
        ("x=lots", "x=1", False),
    ],
)
def test_quota_that_never_has_room_is_final(requested: str, limited: str, never_fits: bool) -> None:
    message = f"exceeded quota: small, requested: {requested}, used: x=1, limited: {limited}"
    cause = api_error_cause(403, "Forbidden", message)
    assert (cause.code, cause.stuck) == ("Quota", never_fits)


def event(reason: str, message: str, time: str = "2026-11-21T10:00:00Z", **more: Json) -> Json:
    fields = {"reason": reason, "message": message, "type": "Warning", "lastTimestamp": time}
    return fields | more


def denied(what: str) -> str:
    return f'Error creating: pods "hello-x" is forbidden: {what}'


EVENTS: dict[str, tuple[Json, str, str, bool]] = {
    "quota": (event("FailedCreate", denied(QUOTA)), "Quota", "'small'", False),
    "quota without requests": (
        event("FailedCreate", denied("failed quota: small: must specify limits.cpu for: flow")),
        "Quota",
        "to specify limits.cpu",
        True,
    ),
    "limits of the namespace": (
        event(
            "FailedCreate",
            denied("maximum memory usage per Container is 1Gi, but limit is 2Gi"),
        ),
        "LimitRange",
        "maximum memory usage per Container is 1Gi, but limit is 2Gi",
        True,
    ),
    "pod security": (
        event(
            "FailedCreate",
            denied('violates PodSecurity "restricted:latest": runAsNonRoot != true'),
        ),
        "PodSecurity",
        "'restricted:latest' forbids it: runAsNonRoot != true",
        True,
    ),
    "no service account": (
        event(
            "FailedCreate",
            denied('error looking up service account a/b: serviceaccount "b" not found'),
        ),
        "NoServiceAccount",
        "there is no service account 'b'",
        True,
    ),
    "a webhook": (
        event("FailedCreate", 'Error creating: admission webhook "x.y" denied the request: no'),
        "Denied",
        "'x.y' refused it: no",
        True,
    ),
    "another rule": (
        event("FailedCreate", denied("no such thing")),
        "Forbidden",
        "the cluster forbids it: no such thing",
        False,
    ),
    "no node": (
        event("FailedScheduling", "0/1 nodes are available: 1 Insufficient memory."),
        "Unschedulable.InsufficientResources",
        "1 Insufficient memory",
        False,
    ),
    "a volume": (
        event("FailedMount", 'MountVolume.SetUp failed for volume "x" : secret "db" not found'),
        "Mount",
        'volume "x": secret "db" not found',
        False,
    ),
    "an image": (
        event("Failed", 'Failed to pull image "reg.example/a:1": reg.example/a:1: not found'),
        "ImagePullError",
        "the image 'reg.example/a:1' cannot be pulled: not found",
        True,
    ),
    "a network": (
        event("FailedCreatePodSandBox", "plugin not ready."),
        "Network",
        "the node cannot set up the pod: plugin not ready",
        False,
    ),
}


@pytest.mark.parametrize(("item", "code", "text", "stuck"), EVENTS.values(), ids=EVENTS)
def test_events_cause(item: Json, code: str, text: str, stuck: bool) -> None:
    cause = events_cause([item])
    assert cause is not None
    assert (cause.code, cause.stuck) == (code, stuck)
    assert text in cause.message


def test_newest_event_counts_in_any_order() -> None:
    events = [
        event("FailedScheduling", "0/1 nodes are available.", "2026-11-21T10:00:00Z"),
        event("FailedMount", "old", "2026-11-21T09:00:00Z"),
        event("Failed", "Error: ErrImagePull", "2026-11-21T12:00:00Z"),
        event("Scheduled", "well", "2026-11-21T13:00:00Z", type="Normal"),
        {
            "reason": "FailedAttachVolume",
            "message": "new",
            "type": "Warning",
            "eventTime": "2026-11-21T09:00:00.000000Z",
            "series": {"lastObservedTime": "2026-11-21T11:00:00.000000Z"},
        },
    ]
    for order in permutations(events):
        cause = events_cause(order)
        assert cause is not None
        assert cause.message.endswith(": new")


def test_events_without_cause() -> None:
    assert events_cause([]) is None
    assert events_cause([event("BackOff", "again"), event("Other", "thing")]) is None
