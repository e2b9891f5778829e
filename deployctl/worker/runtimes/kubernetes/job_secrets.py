"""Secret values among a job's variables, stored in a Secret of the job if the worker may create it.

The Secret is created before the Job, so that no pod waits for it, and gets the Job as its owner
afterwards: Kubernetes deletes it with the Job, and nothing has to be cleaned up. If a worker dies
in between, the Secret has no owner until `Runtime.finish_setup` sets it, or `Runtime.clean_up`
deletes the Secret because its run is cancelled. If neither ever happens, `Runtime.sweep` deletes
it.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable
from deployctl.core.json_values import Json, leaves
from deployctl.jobs.job_labels import ATTEMPT
from deployctl.jobs.manifest import JobManifest, SecretMode, SecretPolicy
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.server.runs import seconds
from deployctl.worker.settings import KubernetesSettings
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

_FORBIDDEN = {
    "create": (
        EventName.SECRETS_CREATE_FORBIDDEN,
        "so API keys and other secrets are in the manifests of jobs, as with Prefect's own worker",
    ),
    "patch": (
        EventName.SECRETS_PATCH_FORBIDDEN,
        "so the Secrets of jobs are kept when the jobs are deleted",
    ),
}
"""Event and consequence of a missing right, by its verb."""


@dataclass(slots=True)
class JobSecrets:
    """Creates and deletes the Secrets of jobs, by the worker's settings and rights."""

    settings: KubernetesSettings
    event_log: EventLog
    timings: Timings = DEFAULT_TIMINGS
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _warned: set[str] = field(default_factory=set)
    """Verbs whose absence was logged."""
    _undeleted: list[tuple[KubeClient, str]] = field(default_factory=list)
    """Secrets to be deleted, by path, in clusters that did not respond."""

    @property
    def is_required(self) -> bool:
        """Whether the settings demand Secrets: no value may go into a manifest instead."""
        return self.settings.store_env_as_secret or self.settings.create_secret_for_api_key

    @property
    def policy(self) -> SecretPolicy:
        """Where the secret values of a job are stored."""
        mode = SecretMode.ALL if self.settings.store_env_as_secret else SecretMode.SECRETS
        return SecretPolicy(mode, self._existing())

    @property
    def policy_without_secret(self) -> SecretPolicy:
        """Where the secret values of a job are stored if the worker may not create Secrets."""
        return SecretPolicy(SecretMode.NOTHING, self._existing())

    def _existing(self) -> dict[str, tuple[str, str]]:
        references = {
            "PREFECT_API_KEY": self.settings.api_key_secret,
            "PREFECT_API_AUTH_STRING": self.settings.auth_string_secret,
        }
        return {name: (secret.name, secret.key) for name, secret in references.items() if secret}

    def create(self, kube: KubeClient, manifest: JobManifest) -> bool:
        """Creates the Secret of a job, if it has one. False if the worker may not do that.

        An existing Secret belongs to the same attempt and has the same values. Raises as
        `KubeClient.request` does.
        """
        if manifest.secret is None:
            return True
        try:
            kube.request("POST", _path(manifest.namespace), body=manifest.secret)
        except KubeApiError as error:
            if _is_right_missing(error) and not self.is_required:
                self._warn("create", manifest.namespace)
                return False
            if error.reason != "AlreadyExists":
                raise
        return True

    def set_owner(self, kube: KubeClient, job: Json) -> None:
        """Makes the Job the owner of its Secret, if it has one.

        A permanent refusal is only logged: it is no reason to fail a run whose Job exists. Raises
        as `KubeClient.request` does if the request may succeed later.
        """
        meta = job["metadata"]
        if not _refers_to_own_secret(job):
            return
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"]}
        body = {"metadata": {"ownerReferences": [owner]}}
        try:
            kube.request("PATCH", _path(meta["namespace"], meta["name"]), body=body)
        except KubeApiError as error:
            if error.is_retryable or error.status == 409:
                raise
            if error.status != 404:
                self._warn("patch", meta["namespace"])

    def delete(self, kube: KubeClient, manifest: JobManifest) -> None:
        """Deletes the Secret of a job that will not be created, if the worker may."""
        if manifest.secret is not None:
            self._delete(kube, _path(manifest.namespace, manifest.name))

    def retry_deletes(self) -> None:
        """Repeats deletes that failed. To be called when a cluster responds."""
        with self._lock:
            undeleted, self._undeleted = self._undeleted, []
        for kube, path in undeleted:
            self._delete(kube, path)

    def sweep(
        self, kube: KubeClient, namespace: str, selector: str, needed: Collection[str]
    ) -> None:
        """Deletes the Secrets without an owner whose attempt is not among `needed`.

        One that is younger than `sweep_age`, or changes meanwhile, is kept. Raises as
        `KubeClient.list_objects` does.
        """
        before = kube.clock() - self.timings.sweep_age
        for meta in kube.list_objects(_path(namespace), selector, _metadata).items:
            if (
                meta.get("ownerReferences")
                or meta["labels"][ATTEMPT] in needed
                or seconds(meta["creationTimestamp"]) > before
            ):
                continue
            unchanged = {name: meta[name] for name in ("uid", "resourceVersion")}
            with suppress(KubeApiError):
                path = _path(meta["namespace"], meta["name"])
                kube.request("DELETE", path, body={"preconditions": unchanged})

    def _delete(self, kube: KubeClient, path: str) -> None:
        try:
            kube.request("DELETE", path)
        except (KubeApiError, KubeUnreachable) as error:
            if isinstance(error, KubeUnreachable) or error.is_retryable:
                with self._lock:
                    self._undeleted.append((kube, path))

    def _warn(self, verb: str, namespace: str) -> None:
        """Logs once that the worker lacks a right on Secrets."""
        with self._lock:
            if verb in self._warned:
                return
            self._warned.add(verb)
        event, consequence = _FORBIDDEN[verb]
        self.event_log.emit(
            Level.WARNING,
            event,
            f"the worker may not {verb} secrets in namespace '{namespace}', {consequence}; grant "
            f"its Role the verb '{verb}' on secrets",
            namespace=namespace,
        )


def _metadata(secret: Json) -> Json:
    """What is kept of a listed Secret: nothing of its values."""
    return secret["metadata"]


def _is_right_missing(error: KubeApiError) -> bool:
    """Whether a refusal is for a missing right. An exceeded quota is a 403 as well."""
    return error.status == 403 and " cannot " in error.detail


def _refers_to_own_secret(job: Json) -> bool:
    name = job["metadata"]["name"]
    return any(
        leaf == name and ("secretKeyRef" in path or "secretRef" in path)
        for path, leaf in leaves(job["spec"]["template"])
    )


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")
