"""Creation of Jobs, exactly one per attempt, whatever is lost on the way.

The name of a Job is that of its attempt, so a second request finds the first one's Job and adopts
it: repeating a request after a lost answer is safe, for every worker. A permanent refusal is
reported to the owner of the flow at once; a temporary one is retried a few times and then left to
the caller, who keeps the claim. So is a refusal that only other people can end, such as a full
quota, but not for ever.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.jobs.manifest import JobManifest
from deployctl.worker.model import Cause, RuntimeUnavailable, StartFailed
from deployctl.worker.runtimes.kubernetes.api_errors import api_error_cause
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

T = TypeVar("T")


def call_with_retries(
    request: Callable[[], T],
    tries: int,
    sleep: Callable[[float], object],
    timings: Timings = DEFAULT_TIMINGS,
) -> T:
    """The result of `request`, which is retried after a temporary refusal.

    Raises StartFailed with the cluster's reason after a permanent refusal, with `retry_for` after
    one that may pass later, RuntimeUnavailable when all `tries` failed.
    """
    longest = timings.create_retry_max
    backoff = Backoff(tries, first=timings.create_retry_first, longest=longest, jitter=0.0)
    waits = backoff.waits(random.Random())
    while True:
        try:
            return request()
        except (KubeApiError, KubeUnreachable) as error:
            if isinstance(error, KubeApiError) and not _is_temporary(error):
                cause = api_error_cause(error.status, error.reason, error.detail)
                raise StartFailed(cause, _retry_for(cause, timings)) from error
            if (wait := next(waits, None)) is None:
                raise RuntimeUnavailable(str(error)) from error
            retry_after = error.retry_after if isinstance(error, KubeApiError) else None
        sleep(min(retry_after or wait, longest))


def create_job(kube: KubeClient, manifest: JobManifest) -> Json:
    """Creates the Job of the manifest, or finds the existing one; returns it as the API does.

    After every refusal the Job is looked up: quotas and webhooks apply before the API server
    notices that the name exists, and an earlier request may have created it. A Job that existed and
    is gone may have done its work; the caller has to find out. Raises StartFailed if the name
    belongs to another Job, RuntimeUnavailable for one that is gone, and as `KubeClient.request`.
    """
    jobs = f"/apis/batch/v1/namespaces/{manifest.namespace}/jobs"
    try:
        return kube.request("POST", jobs, body=manifest.job)
    except KubeApiError as error:
        if error.is_retryable:
            raise
        refusal = error
    try:
        existing = kube.request("GET", f"{jobs}/{manifest.name}")
    except KubeApiError as error:
        if error.is_retryable:
            raise
        if refusal.reason == "AlreadyExists":
            raise RuntimeUnavailable(f"the Job '{manifest.name}' has just been deleted") from error
        raise refusal from None
    attempt = manifest.job["metadata"]["labels"][ATTEMPT]
    if (existing["metadata"].get("labels") or {}).get(ATTEMPT) == attempt:
        return existing
    raise StartFailed(
        Cause(
            "NameTaken",
            f"there is another Job '{manifest.name}' in namespace '{manifest.namespace}'",
            "Delete it, or give the runs of this deployment another name.",
        )
    )


def _retry_for(cause: Cause, timings: Timings) -> float:
    graces = {"Quota": timings.quota_grace, "Forbidden": timings.forbidden_grace}
    return 0.0 if cause.stuck else graces.get(cause.code, 0.0)


def _is_temporary(error: KubeApiError) -> bool:
    """Whether a refusal may pass.

    In addition to retryable errors: a 409, by which two writers of a quota race, and a 404 that is
    not about the namespace. Every cluster has Jobs, so something in front of it has answered.
    """
    is_foreign_404 = error.status == 404 and "namespaces" not in error.detail
    return error.is_retryable or error.status == 409 or is_foreign_404
