"""What all objects of a worker share: names, labels, namespaces, settings in its environment."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from deployctl import __version__
from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.core.redact import strip_userinfo

COMPONENT = "deployctl-worker"
PORT = 8080
"""Port of health and metrics."""
_INTEGRATION = "PREFECT_INTEGRATIONS_KUBERNETES_"
_CREDENTIALS = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
_MAX_POOL = 63 - len(COMPONENT) - 1
_UNSET = object()


@dataclass(frozen=True, slots=True)
class WorkerManifest:
    """The complete values of a worker, and the names that follow from them."""

    values: Mapping[str, Json]

    @property
    def name(self) -> str:
        """The name of all objects."""
        pool = self.values["worker"]["config"]["workPool"]
        return str(self.values["fullnameOverride"] or f"{COMPONENT}-{_object_name(pool)}")

    @property
    def namespace(self) -> str:
        """The namespace of the worker."""
        return str(self.values["namespaceOverride"] or "default")

    @property
    def service_account(self) -> str:
        """The service account of the worker's pods."""
        account = self.values["serviceAccount"]
        return str(account["name"] or (self.name if account["create"] else "default"))

    @property
    def job_namespaces(self) -> list[str]:
        """The namespaces with Jobs."""
        listed = self.values["worker"]["config"]["jobNamespace"].split(",")
        found = [each.strip() for each in listed if each.strip()]
        return found or [str(self.values["role"]["namespace"] or self.namespace)]

    @property
    def template_config_map(self) -> str | None:
        """The ConfigMap with the base job template; None if the values have none."""
        template = self.values["worker"]["config"]["baseJobTemplate"]
        if template["configuration"]:
            return str(template["name"] or f"{self.name}-base-job-template")
        return template["existingConfigMapName"] or None

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the worker's pods; a Deployment cannot change them."""
        return {
            "app.kubernetes.io/name": str(self.values["nameOverride"] or COMPONENT),
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": "worker",
        }

    def object(
        self,
        version: str,
        kind: str,
        *,
        name: str = "",
        namespace: Json = _UNSET,
        annotations: Mapping[str, str] | None = None,
        selector: Mapping[str, str] | None = None,
    ) -> dict[str, Json]:
        """An object with the common metadata.

        `name`: default is that of all objects; `namespace`: default is the worker's, None is for
        objects without one; `annotations`: in addition to the common ones; `selector`: labels,
        by default those of the worker.
        """
        metadata: dict[str, Json] = {"name": name or self.name}
        if namespace is not None:
            metadata["namespace"] = self.namespace if namespace is _UNSET else namespace
        version_label = {"app.kubernetes.io/version": __version__}
        own = self.selector if selector is None else selector
        metadata["labels"] = version_label | self.values["commonLabels"] | own
        if all_annotations := self.values["commonAnnotations"] | (annotations or {}):
            metadata["annotations"] = all_annotations
        return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _object_name(pool: str) -> str:
    """A work pool's name as a part of an object's name, with a checksum where it is not the same.

    Without it, `etl_a` and `etl-a` would replace each other's objects.
    """
    found = re.sub("[^a-z0-9]+", "-", pool.lower()).strip("-")
    if found == pool and len(found) <= _MAX_POOL:
        return found
    checksum = hashlib.sha256(pool.encode()).hexdigest()[:8]
    return f"{found[: _MAX_POOL - 9]}-{checksum}".replace("--", "-").strip("-")


def check(values: Mapping[str, Json], report: Report) -> None:
    """Reports values that are missing or cannot be combined (DC803)."""
    worker = values["worker"]
    kind = worker["apiConfig"]
    api = worker[f"{kind}ApiConfig"]
    required = {"worker.config.workPool": worker["config"]["workPool"]}
    if kind != "cloud":
        required[f"worker.{kind}ApiConfig.apiUrl"] = api["apiUrl"]
    if kind != "selfHostedServer":
        required |= {
            f"worker.{kind}ApiConfig.{key}": api[key] for key in ("accountId", "workspaceId")
        }
    for path, value in required.items():
        if not value:
            option = {"workPool": "--pool", "apiUrl": "--api-url"}.get(path.rpartition(".")[2])
            either = f"{option} or " if option else ""
            report.add(
                "DC803", f"'{path}' is missing", help=f"Set {either}the value in a values file."
            )
    url = api.get("apiUrl", "")
    if strip_userinfo(url) != url:
        report.add(
            "DC803",
            "the password in 'apiUrl' would stand in the manifest in plain text",
            help="Put USER:PASSWORD into a Secret, and name it with --auth-secret.",
        )
    auth = worker["selfHostedServerApiConfig"]["basicAuth"]
    if auth["authString"]:
        report.add(
            "DC803",
            "'authString' would stand in the manifest in plain text",
            help="Put it into a Secret under the key auth-string, and name that in existingSecret.",
        )
    elif auth["enabled"] and not auth["existingSecret"]:
        report.add("DC803", "'basicAuth' is enabled without 'existingSecret'")
    for variable in worker["extraEnvVars"]:
        if variable.get("name") in _CREDENTIALS and "value" in variable:
            report.add(
                "DC803",
                f"'{variable['name']}' would stand in the manifest in plain text",
                help="Put it into a Secret, and refer to that with 'valueFrom'.",
            )


def environment(worker: WorkerManifest) -> list[Json]:
    """The environment variables of the worker's container."""
    values = worker.values["worker"]
    config = values["config"]
    found: dict[str, Json] = {
        "HOME": "/home/prefect",
        "PREFECT_WORKER_PREFETCH_SECONDS": config["prefetchSeconds"],
        "PREFECT_WORKER_QUERY_SECONDS": config["queryInterval"],
        "PREFECT_API_ENABLE_HTTP2": config["http2"],
        "PREFECT_DEBUG_MODE": values["image"]["debug"],
    }
    found |= _api(values)
    if values["clusterUid"]:
        found["PREFECT_KUBERNETES_CLUSTER_UID"] = values["clusterUid"]
    if not config["observerClusterWide"]:
        found[f"{_INTEGRATION}OBSERVER_NAMESPACES"] = ",".join(worker.job_namespaces)
    return [*(_variable(name, value) for name, value in found.items()), *values["extraEnvVars"]]


def _api(values: Mapping[str, Json]) -> dict[str, Json]:
    """Address and credentials of the API; references to Secrets are mappings."""
    kind = values["apiConfig"]
    api = values[f"{kind}ApiConfig"]
    if kind == "selfHostedServer":
        found: dict[str, Json] = {"PREFECT_API_URL": api["apiUrl"]}
        if api["basicAuth"]["enabled"]:
            secret = {"name": api["basicAuth"]["existingSecret"], "key": "auth-string"}
            found["PREFECT_API_AUTH_STRING"] = secret
            found |= _secret_names("AUTH_STRING", secret)
        return found
    base = api["cloudUrl"] if kind == "cloud" else api["apiUrl"]
    secret = api["apiKeySecret"]
    workspace = f"accounts/{api['accountId']}/workspaces/{api['workspaceId']}"
    found = {"PREFECT_API_URL": f"{base.rstrip('/')}/{workspace}", "PREFECT_API_KEY": secret}
    for variable, key in (("API", "cloudApiUrl"), ("UI", "cloudUiUrl")):
        if api.get(key):
            found[f"PREFECT_CLOUD_{variable}_URL"] = api[key]
    match api["jobApiKeyPropagation"]:
        case "secretRef":
            found |= _secret_names("KEY", secret)
        case "autoSecret":
            found[f"{_INTEGRATION}WORKER_CREATE_SECRET_FOR_API_KEY"] = True
    return found


def _secret_names(what: str, secret: Mapping[str, str]) -> dict[str, Json]:
    """The settings that name the Secret which Jobs get a credential from."""
    prefix = f"{_INTEGRATION}WORKER_API_{what}_SECRET_"
    return {f"{prefix}NAME": secret["name"], f"{prefix}KEY": secret["key"]}


def _variable(name: str, value: Json) -> Json:
    if isinstance(value, Mapping):
        return {"name": name, "valueFrom": {"secretKeyRef": dict(value)}}
    return {"name": name, "value": value if isinstance(value, str) else json.dumps(value)}
