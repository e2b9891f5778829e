"""The secret values among a job's variables: in the job's own Secret, where that may be written.

The Secret is made before the Job, so that no pod waits for it, and is given to the Job afterwards:
Kubernetes deletes it with the Job, and nothing has to be cleaned up. A worker that dies in between
leaves it without an owner until the job is settled, or given up because its run is cancelled.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable
from deployctl.core.json_values import Json, leaves
from deployctl.jobs.manifest import Manifest, SecretMode, SecretPolicy
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.settings import KubernetesSettings


@dataclass(slots=True)
class JobSecrets:
    """Where secret values go, by the worker's settings and by what its clusters let it do."""

    settings: KubernetesSettings
    event_log: EventLog
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _warned: set[str] = field(default_factory=set)
    _left: list[tuple[Kube, str]] = field(default_factory=list)
    """Clusters that did not answer, and the paths of Secrets that are to be deleted there."""

    def secrecy(self) -> SecretPolicy:
        """What is to be kept out of a manifest."""
        existing = {
            name: (secret.name, secret.key)
            for name, secret in (
                ("PREFECT_API_KEY", self.settings.api_key_secret),
                ("PREFECT_API_AUTH_STRING", self.settings.auth_string_secret),
            )
            if secret is not None
        }
        hide = SecretMode.ALL if self.settings.store_env_as_secret else SecretMode.SECRETS
        return SecretPolicy(hide, existing)

    @property
    def is_demanded(self) -> bool:
        """Somebody asked for Secrets: values are not to stand in a manifest instead."""
        return self.settings.store_env_as_secret or self.settings.create_secret_for_api_key

    def open(self) -> SecretPolicy:
        """What is kept out of a manifest where Secrets may not be written."""
        return SecretPolicy(SecretMode.NOTHING, self.secrecy().existing)

    def create(self, kube: Kube, manifest: Manifest) -> bool:
        """Makes the Secret of a job; gives whether the worker may do that.

        One that is there already is of the same attempt, and has the same values. Raises as
        `Kube.request` does.
        """
        if manifest.secret is None:
            return True
        try:
            kube.request("POST", _path(manifest.namespace), body=manifest.secret)
        except KubeApiError as error:
            if _is_right_missing(error) and not self.is_demanded:
                self._warn("create", manifest.namespace)
                return False
            if error.reason != "AlreadyExists":
                raise
        return True

    def give(self, kube: Kube, job: Json) -> None:
        """Makes the Job the owner of its Secret, if it has one.

        A cluster that refuses this for good is no reason to end a run whose job is there. Raises as
        `Kube.request` does where it may agree later.
        """
        meta = job["metadata"]
        if not _refers_to_own(job):
            return
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": meta["name"],
            "uid": meta["uid"],
        }
        body = {"metadata": {"ownerReferences": [owner]}}
        try:
            kube.request("PATCH", _path(meta["namespace"], meta["name"]), body=body)
        except KubeApiError as error:
            if error.is_retryable or error.status == 409:
                raise
            if error.status != 404:
                self._warn("patch", meta["namespace"])

    def drop(self, kube: Kube, manifest: Manifest) -> None:
        """Takes back the Secret of a job that there will not be, if the worker may."""
        if manifest.secret is not None:
            self._delete(kube, _path(manifest.namespace, manifest.name))

    def tidy(self) -> None:
        """Tries once more what could not be taken back; to be called when a cluster answers."""
        with self._lock:
            left, self._left = self._left, []
        for kube, path in left:
            self._delete(kube, path)

    def _delete(self, kube: Kube, path: str) -> None:
        try:
            kube.request("DELETE", path)
        except (KubeApiError, KubeUnreachable) as error:
            if isinstance(error, KubeUnreachable) or error.is_retryable:
                with self._lock:
                    self._left.append((kube, path))

    def _warn(self, verb: str, namespace: str) -> None:
        with self._lock:
            if verb in self._warned:
                return
            self._warned.add(verb)
        lost = {
            "create": "so API keys and other secrets stand in the manifests of jobs, as with "
            "Prefect's own worker",
            "patch": "so the Secrets of jobs stay when the jobs are deleted",
        }
        self.event_log.emit(
            Level.WARNING,
            _FORBIDDEN_EVENTS[verb],
            f"the worker may not {verb} secrets in namespace '{namespace}', {lost[verb]}; give its "
            f"Role the verb '{verb}' on secrets",
            namespace=namespace,
        )


_FORBIDDEN_EVENTS = {
    "create": EventName.SECRETS_CREATE_FORBIDDEN,
    "patch": EventName.SECRETS_PATCH_FORBIDDEN,
}


def _is_right_missing(error: KubeApiError) -> bool:
    """A quota is a 403, too, but is no right."""
    return error.status == 403 and " cannot " in error.detail


def _refers_to_own(job: Json) -> bool:
    name = job["metadata"]["name"]
    return any(
        leaf == name and ("secretKeyRef" in path or "secretRef" in path)
        for path, leaf in leaves(job["spec"]["template"])
    )


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")
