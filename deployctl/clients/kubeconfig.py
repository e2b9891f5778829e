"""Ways to a cluster: a given configuration, the pod that this runs in, or a kubeconfig file."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployctl.clients.kubernetes import Kube
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

_CONNECTIONS = 48
"""Kept open: 16 submitters, 16 followed logs, and the watches."""

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterConfigError(DeployctlError):
    """There is no configuration of a cluster, or it cannot be used."""

    code = "DC612"


def connect(kubeconfig: str = "") -> Kube:
    """The cluster that this runs in, else the current context of a kubeconfig file.

    `kubeconfig`: the value of KUBECONFIG, one file or several; "" means `~/.kube/config`. Opens
    no connection. Raises ClusterConfigError.
    """
    library = _library()
    configuration = _empty()
    with suppress(library.ConfigException):
        library.load_incluster_config(configuration)
        return _kube(configuration, _own_namespace(), "the service account of this pod")
    file = kubeconfig or str(Path("~/.kube/config").expanduser())
    try:
        library.load_kube_config(file, None, configuration, persist_config=False)
        _, active = library.list_kube_config_contexts(file)
        source = f"context '{active['name']}' of the kubeconfig '{file}'"
        return _kube(configuration, active["context"].get("namespace"), source)
    except _unusable() as error:
        raise ClusterConfigError(
            f"this is not a pod, and the kubeconfig '{file}' cannot be used: {redact(str(error))}",
            help="Run the worker in the cluster, or name a kubeconfig file with KUBECONFIG.",
        ) from error


def connect_with_config(config: Json, context: str | None) -> Kube:
    """The cluster of a kubeconfig that is given as a mapping or as its text.

    `context` is the name of one in it; None is its current one. Opens no connection. Raises
    ClusterConfigError.
    """
    configuration = _empty()
    try:
        parsed = _parsed(config)
        name = context or parsed["current-context"]
        _library().load_kube_config_from_dict(parsed, name, configuration, persist_config=False)
        (entry,) = (each["context"] for each in parsed["contexts"] if each["name"] == name)
        source = f"context '{name}' of a 'cluster_config'"
        return _kube(configuration, entry.get("namespace"), source)
    except _unusable() as error:
        raise ClusterConfigError(
            f"the 'cluster_config' cannot be used: {redact(str(error))}",
            help="Look at the KubernetesClusterConfig block that the job names.",
        ) from error


def _library() -> Any:
    """The half of the library that reads configurations; it has no types."""
    from kubernetes import config

    return config


def _empty() -> Configuration:
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    return configuration


def _kube(configuration: Configuration, namespace: str | None, source: str) -> Kube:
    from kubernetes.client.api_client import ApiClient

    kube = Kube(ApiClient(configuration), namespace or "default")
    kube.source = source
    return kube


def _parsed(config: Json) -> Json:
    if not isinstance(config, str):
        return config
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(config)


def _own_namespace() -> str:
    with suppress(OSError):
        return _NAMESPACE_FILE.read_text().strip()
    return "default"


def _unusable() -> tuple[type[Exception], ...]:
    """What the library raises for a configuration that lacks something, or has it wrong."""
    library = _library()
    wrong_yaml = library.kube_config.yaml.YAMLError
    mistakes = (OSError, ValueError, KeyError, TypeError, AttributeError)
    return (library.ConfigException, wrong_yaml, *mistakes)
