"""The Prefect server of a stack."""

from __future__ import annotations

from deployctl.core.json_values import Json
from deployctl.manifests import database
from deployctl.manifests.components import UNPRIVILEGED, Component, StackSettings, variable
from deployctl.manifests.settings import WorkerManifest

NAME = "prefect-server"
PORT = 4200
IMAGES = {2: "prefecthq/prefect:2-python3.11", 3: "prefecthq/prefect:3-python3.11"}
_UID = 1001


def server_objects(worker: WorkerManifest, settings: StackSettings) -> list[Json]:
    """The objects of the server, in the order in which they are applied."""
    part = Component(worker, settings, NAME, _UID)
    node_port: dict[str, Json] = {}
    if settings.node_port is not None:
        node_port = {"type": "NodePort", "ports": {"nodePort": settings.node_port}}
    pod = {
        "automountServiceAccountToken": False,
        "containers": [_container(part)],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    # Two servers of different versions would use one database.
    deployment = part.workload("Deployment", pod, strategy={"type": "Recreate"})
    return [part.service(PORT, **node_port), deployment]


def api_url(namespace: str) -> str:
    """The URL of the API in the whole cluster."""
    return f"http://{NAME}.{namespace}.svc:{PORT}/api"


def _container(part: Component) -> Json:
    def check(path: str, **more: int) -> Json:
        """A probe of the API."""
        request = {"path": f"/api/{path}", "port": "server"}
        return {"httpGet": request, "timeoutSeconds": 5, **more}

    return {
        "name": "server",
        "image": part.settings.server_image or IMAGES[part.settings.prefect],
        "args": ["prefect", "server", "start", "--host", "0.0.0.0", "--port", str(PORT)],
        "env": [variable(name, value) for name, value in _environment(part).items()],
        "ports": [{"name": "server", "containerPort": PORT}],
        "startupProbe": check("health", periodSeconds=5, failureThreshold=1440),
        "readinessProbe": check("ready", periodSeconds=5),
        "livenessProbe": check("health", periodSeconds=10, failureThreshold=6),
        "resources": {"requests": {"cpu": "200m", "memory": "512Mi"}},
        "securityContext": dict(UNPRIVILEGED),
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }


def _environment(part: Component) -> dict[str, Json]:
    """Variable → text, or the Secret that holds it."""
    found: dict[str, Json] = {
        "HOME": "/tmp",
        "PREFECT_HOME": "/tmp/prefect",
        "PREFECT_UI_STATIC_DIRECTORY": "/tmp/ui",
        # The browser's path to the API is that of the page.
        "PREFECT_UI_API_URL": "/api",
    }
    password = database.password_reference(part.settings)
    user, host, port = database.USER, database.NAME, database.PORT
    if part.settings.prefect == 2:
        address = f"{user}:${{PREFECT_API_DATABASE_PASSWORD}}@{host}:{port}/{user}"
        return found | {
            "PREFECT_API_DATABASE_PASSWORD": password,
            "PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{address}",
        }
    found |= {
        "PREFECT_SERVER_DATABASE_DRIVER": "postgresql+asyncpg",
        "PREFECT_SERVER_DATABASE_HOST": host,
        "PREFECT_SERVER_DATABASE_PORT": str(port),
        "PREFECT_SERVER_DATABASE_USER": user,
        "PREFECT_SERVER_DATABASE_NAME": user,
        "PREFECT_SERVER_DATABASE_PASSWORD": password,
    }
    auth = part.worker.values["worker"]["selfHostedServerApiConfig"]["basicAuth"]
    if auth["enabled"]:
        secret = {"name": auth["existingSecret"], "key": "auth-string"}
        found["PREFECT_SERVER_API_AUTH_STRING"] = secret
    return found
