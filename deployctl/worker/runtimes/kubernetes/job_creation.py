"""Creates a job so that there is exactly one of each attempt, whatever is lost on the way.

The name is the attempt's, so a second try finds the first one's Job and adopts it; that makes every
try after a lost answer safe, whoever makes it. What the cluster refuses for good is the flow
owner's affair and is said at once; what may pass is tried a few times and then left to the caller,
who keeps the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable
from deployctl.core.json_values import Json
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.jobs.manifest import Manifest
from deployctl.worker.model import Cause, RuntimeUnavailable, StartFailed
from deployctl.worker.runtimes.kubernetes.api_errors import api_error_cause

T = TypeVar("T")

_FIRST_WAIT = 0.25
_LONGEST_WAIT = 2.0
"""Seconds between tries, while one of the worker's hands is held up."""


def call_with_retries(ask: Callable[[], T], tries: int, sleep: Callable[[float], object]) -> T:
    """What `ask` gives, asked again where a refusal may pass.

    Raises StartFailed with the cluster's reason, NotNow when `tries` in a row led to nothing.
    """
    wait = _FIRST_WAIT
    while True:
        tries -= 1
        try:
            return ask()
        except (KubeApiError, KubeUnreachable) as error:
            if isinstance(error, KubeApiError) and not _passes(error):
                raise StartFailed(
                    api_error_cause(error.status, error.reason, error.detail)
                ) from error
            if tries <= 0:
                raise RuntimeUnavailable(str(error)) from error
            asked = error.wait if isinstance(error, KubeApiError) else None
        sleep(min(asked or wait, _LONGEST_WAIT))
        wait *= 2


def create_job(kube: Kube, manifest: Manifest) -> Json:
    """The Job of the manifest, created or found, as the API gives it.

    After any refusal the Job is looked for: quotas and webhooks judge before the API server sees
    that it has one of this name, which then is what an earlier try has made. One that was there and
    is gone may have done its work: that is for the caller to find out. Raises StartFailed where the
    name belongs to somebody else, NotNow for one that is gone, and as `Kube.request` does.
    """
    jobs = f"/apis/batch/v1/namespaces/{manifest.namespace}/jobs"
    try:
        return kube.request("POST", jobs, body=manifest.job)
    except KubeApiError as error:
        if error.is_retryable:
            raise
        refused = error
    try:
        found = kube.request("GET", f"{jobs}/{manifest.name}")
    except KubeApiError as error:
        if error.is_retryable:
            raise
        if refused.reason == "AlreadyExists":
            raise RuntimeUnavailable(f"the Job '{manifest.name}' has just been deleted") from error
        raise refused from None
    wanted = manifest.job["metadata"]["labels"][ATTEMPT]
    if (found["metadata"].get("labels") or {}).get(ATTEMPT) == wanted:
        return found
    raise StartFailed(
        Cause(
            "NameTaken",
            f"There is another Job '{manifest.name}' in namespace '{manifest.namespace}'",
            help="Delete it, or give the runs of this deployment another name.",
        )
    )


def _passes(error: KubeApiError) -> bool:
    """Two refusals more than usual may pass: a race of two writers of a quota (409), and a 404 that
    is not of the namespace: every cluster knows Jobs, so something before it has answered."""
    strange = error.status == 404 and "namespaces" not in error.detail
    return error.is_retryable or error.status == 409 or strange
