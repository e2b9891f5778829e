"""A stack: database, server and worker, and a hook that deploys a project before a worker starts.

The worker is what `manifests worker` renders; the values that the stack decides are added to its
own. The hook is an init container of the worker: a changed image rolls the worker, no worker starts
before its project is deployed, and a project that cannot be deployed leaves the old pods running. A
Job could not be applied twice, because its pod is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.core.diagnostics import Report
from deployctl.core.json_values import Json
from deployctl.manifests.components import UNPRIVILEGED, StackSettings, variable
from deployctl.manifests.database import database_objects
from deployctl.manifests.server import api_url, server_objects
from deployctl.manifests.settings import WorkerManifest, environment
from deployctl.manifests.values import merged
from deployctl.manifests.worker import worker_objects

_WAIT = 600
_TIMEOUT = 900
"""Seconds of the hook: for the server to start, and for everything."""


def stack_objects(values: Mapping[str, Json], settings: StackSettings) -> list[Json]:
    """The objects of a stack. `values` are those of `stack_values`, complete and checked."""
    worker = WorkerManifest(values)
    if settings.project_image:
        containers = values["worker"]["initContainer"]["extraContainers"]
        hook = {"extraContainers": [*containers, _deploy_container(worker, settings)]}
        values = merged(values, {"worker": {"initContainer": hook}})
    return [
        *database_objects(worker, settings),
        *server_objects(worker, settings),
        *worker_objects(values),
    ]


def stack_values(values: Mapping[str, Json]) -> dict[str, Json]:
    """The values of a worker, with the address of the stack's server unless they have one."""
    url = api_url(WorkerManifest(values).namespace)
    server = {"apiUrl": values["worker"]["selfHostedServerApiConfig"]["apiUrl"] or url}
    return merged(values, {"worker": {"selfHostedServerApiConfig": server}})


def check_stack(values: Mapping[str, Json], settings: StackSettings, report: Report) -> None:
    """Reports what a stack cannot have (DC803)."""
    worker = values["worker"]
    if worker["apiConfig"] != "selfHostedServer":
        report.add(
            "DC803",
            f"'worker.apiConfig' is '{worker['apiConfig']}', and a stack has a server of its own",
            help="Use `deployctl manifests worker`, or leave 'apiConfig' out.",
        )
    if settings.prefect == 2 and worker["selfHostedServerApiConfig"]["basicAuth"]["enabled"]:
        report.add(
            "DC803",
            "a server of Prefect 2 has no authentication",
            help="Leave --auth-secret out, or use --prefect 3.",
        )


def _deploy_container(worker: WorkerManifest, settings: StackSettings) -> Json:
    values = worker.values["worker"]
    named = {each["name"]: each for each in environment(worker)}
    return {
        "name": "deploy",
        "image": settings.project_image,
        "command": ["deployctl"],
        "args": [
            *("deploy", "--all", "--create-pools"),
            *("--wait-for-api", str(_WAIT), "--timeout", str(_TIMEOUT)),
        ],
        "env": list((named | {"HOME": variable("HOME", "/tmp")}).values()),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": values["containerSecurityContext"] or dict(UNPRIVILEGED),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp", "subPath": "tmp"}],
    }
