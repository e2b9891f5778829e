"""A page of YAML with PostgreSQL and a Prefect server, as many clusters have one.

In our own words: a password as a literal, a volume that ends with its pod, and no probe.
"""

from __future__ import annotations

from typing import Any

from tests.support.cluster.stack_images import POSTGRES

_URL = "postgresql+asyncpg://prefect:literal@postgres:5432/prefect"


def yaml_page(namespace: str, server_image: str) -> Any:
    """A List of the Deployments and Services `postgres` and `prefect-server`."""
    database = {
        "POSTGRES_USER": "prefect",
        "POSTGRES_DB": "prefect",
        "POSTGRES_PASSWORD": "literal",
    }
    server = {"PREFECT_API_DATABASE_CONNECTION_URL": _URL, "PREFECT_UI_ENABLED": "false"}
    start = ["prefect", "server", "start", "--host", "0.0.0.0"]
    data = {"PGDATA": "/var/lib/postgresql/data/pgdata"}
    items = [
        *_part(namespace, "postgres", POSTGRES, 5432, database | data, []),
        *_part(namespace, "prefect-server", server_image, 4200, server, start),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _part(
    namespace: str, name: str, image: str, port: int, env: dict[str, str], args: list[str]
) -> list[Any]:
    labels = {"app": name}
    metadata = {"name": name, "namespace": namespace}
    container: dict[str, Any] = {
        "name": name,
        "image": image,
        "args": args,
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "ports": [{"containerPort": port}],
    }
    if name == "postgres":
        container["securityContext"] = {"runAsUser": 999}
        paths = {"data": "/var/lib/postgresql/data", "run": "/var/run/postgresql"}
        container["volumeMounts"] = [
            {"name": "data", "mountPath": path, "subPath": name} for name, path in paths.items()
        ]
    pod = {
        "containers": [container],
        "securityContext": {"fsGroup": 999},
        "enableServiceLinks": False,
        "volumes": [{"name": "data", "emptyDir": {}}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": port}]},
        },
    ]
