"""Connects to a cluster: in-cluster configuration, a kubeconfig file, or a given kubeconfig."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module, reload
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployctl.clients.kubernetes import KubeClient
from deployctl.clients.proxies import proxy_for
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from kubernetes.client.configuration import Configuration

_CONNECTIONS = 48
"""Size of the connection pool: 16 executor threads, 16 streamed logs, and the watches."""

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterConfigError(DeployctlError):
    """There is no cluster configuration, or it cannot be used."""

    code = "DC612"


def connect(kubeconfig: str = "") -> KubeClient:
    """Returns the cluster that this runs in, else the current context of a kubeconfig file.

    `kubeconfig`: the value of KUBECONFIG, one file or several; "" means `~/.kube/config`. Opens
    no connection. Raises ClusterConfigError.
    """
    _defer_imports()
    in_cluster: Any = import_module("kubernetes.config.incluster_config")
    configuration = _new_configuration()
    with suppress(in_cluster.ConfigException):
        in_cluster.load_incluster_config(configuration)
        return _kube(configuration, _pod_namespace(), "the service account of this pod")
    config = _config_module()
    file = kubeconfig or str(Path("~/.kube/config").expanduser())
    try:
        config.load_kube_config(file, None, configuration, persist_config=False)
        _, active = config.list_kube_config_contexts(file)
        source = f"context '{active['name']}' of the kubeconfig '{file}'"
        return _kube(configuration, active["context"].get("namespace"), source)
    except _config_errors() as error:
        raise ClusterConfigError(
            f"this is not a pod, and the kubeconfig '{file}' cannot be used: {redact(str(error))}",
            help="Run the worker in the cluster, or set KUBECONFIG to a kubeconfig file.",
        ) from error


def connect_with_config(config: Json, context: str | None) -> KubeClient:
    """Returns the cluster of a kubeconfig that is given as a mapping or as YAML text.

    `context` is the name of a context; None means the current one. Opens no connection. Raises
    ClusterConfigError.
    """
    _defer_imports()
    configuration = _new_configuration()
    try:
        parsed = _parse(config)
        name = context or parsed["current-context"]
        _config_module().load_kube_config_from_dict(
            parsed, name, configuration, persist_config=False
        )
        (entry,) = (each["context"] for each in parsed["contexts"] if each["name"] == name)
        source = f"context '{name}' of a 'cluster_config'"
        return _kube(configuration, entry.get("namespace"), source)
    except _config_errors() as error:
        raise ClusterConfigError(
            f"the 'cluster_config' cannot be used: {redact(str(error))}",
            help="Correct the KubernetesClusterConfig block that the job refers to.",
        ) from error


def _defer_imports() -> None:
    """Puts two packages of the library in place without executing them.

    `kubernetes` imports streams, informers and a dynamic client; `kubernetes.config` imports
    requests and oauthlib, for a kubeconfig with OpenID Connect. A worker in a pod needs none of
    them, and is 6 MB smaller without them (37.0.2).
    """
    for name in ("kubernetes", "kubernetes.config"):
        if name not in sys.modules and (spec := find_spec(name)):
            sys.modules[name] = module_from_spec(spec)


def _config_module() -> Any:
    """The untyped part of the kubernetes library that reads configurations."""
    _defer_imports()
    config = sys.modules["kubernetes.config"]
    if not hasattr(config, "load_kube_config"):
        reload(config)
    return config


def _new_configuration() -> Configuration:
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    configuration.connection_pool_maxsize = _CONNECTIONS
    configuration.proxy = configuration.no_proxy = None  # `_kube` reads the environment
    return configuration


def _kube(configuration: Configuration, namespace: str | None, source: str) -> KubeClient:
    if not configuration.proxy:  # of the kubeconfig
        configuration.proxy = proxy_for(configuration.host)
    kube = KubeClient(configuration, namespace or "default")
    kube.source = source
    return kube


def _parse(config: Json) -> Json:
    if not isinstance(config, str):
        return config
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(config)


def _pod_namespace() -> str:
    with suppress(OSError):
        return _NAMESPACE_FILE.read_text().strip()
    return "default"


def _config_errors() -> tuple[type[Exception], ...]:
    """What the library raises for an incomplete or invalid configuration."""
    config = _config_module()
    wrong_yaml = config.kube_config.yaml.YAMLError
    # ImportError: of a SOCKS proxy without the library that it needs.
    mistakes = (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError)
    return (config.ConfigException, wrong_yaml, *mistakes)
