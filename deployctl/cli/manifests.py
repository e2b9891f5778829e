"""`deployctl manifests`: Kubernetes manifests, for `kubectl apply -f -`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.help import HelpGroup
from deployctl.cli.options import option

if TYPE_CHECKING:
    from deployctl.core.json_values import Json

_WORKER = "Worker"
_OBJECTS = "Objects"
_SERVER = "Server"

app = typer.Typer(
    cls=HelpGroup,
    help="Print Kubernetes manifests.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="# Install a worker\n"
    "deployctl manifests worker --pool p --api-url http://prefect:4200/api | kubectl apply -f -\n"
    "# Show what an upgrade would change\n"
    "deployctl manifests worker --values values.yaml | kubectl diff -f -",
)


@dataclass(frozen=True)
class WorkerManifestOptions:
    """The values that people set most; all others are set in a values file."""

    values: Annotated[
        list[Path],
        option(
            "--values, -f FILE",
            _OBJECTS,
            "Values of the prefect-worker or deployctl-worker chart. May be repeated; the last "
            "file has precedence, and options before files.",
        ),
    ] = field(default_factory=list)
    name: Annotated[
        str | None,
        option("--name NAME", _OBJECTS, "Name of all objects.", default="deployctl-worker-POOL"),
    ] = None
    namespace: Annotated[
        str | None,
        option("--namespace, -n NAME", _OBJECTS, "Namespace of the worker.", default="default"),
    ] = None
    image: Annotated[
        str | None,
        option("--image IMAGE", _OBJECTS, "Image with deployctl.", default="deployctl:VERSION"),
    ] = None
    replicas: Annotated[
        int | None, option("--replicas N", _OBJECTS, "Number of replicas.", min=0, default="1")
    ] = None
    pool: Annotated[
        str | None,
        option(
            "--pool, -p NAME", _WORKER, "Work pool to take runs from.", default="from the values"
        ),
    ] = None
    work_queue: Annotated[
        list[str],
        option(
            "--work-queue, -q NAME",
            _WORKER,
            "Take runs from this work queue. May be repeated.",
            default="all queues of the pool",
        ),
    ] = field(default_factory=list)
    limit: Annotated[
        int | None,
        option(
            "--limit, -l N",
            _WORKER,
            "Maximum number of concurrent jobs of each replica.",
            min=1,
            default="no limit",
        ),
    ] = None
    job_namespace: Annotated[
        list[str],
        option(
            "--job-namespace NAME",
            _WORKER,
            "Namespace with jobs. May be repeated.",
            default="the worker's",
        ),
    ] = field(default_factory=list)
    base_job_template: Annotated[
        Path | None,
        option(
            "--base-job-template FILE",
            _WORKER,
            "JSON file with the work pool's base job template.",
            default="the pool's own",
        ),
    ] = None
    api_url: Annotated[
        str | None,
        option(
            "--api-url URL",
            _SERVER,
            "Prefect API, as seen from the cluster.",
            default="from the values",
        ),
    ] = None
    auth_secret: Annotated[
        str | None,
        option(
            "--auth-secret NAME",
            _SERVER,
            "Secret that holds USER:PASSWORD in the key auth-string.",
            default="no authentication",
        ),
    ] = None


@command(
    "manifests worker",
    (
        "Install a worker",
        "deployctl manifests worker --pool p --api-url http://prefect:4200/api"
        " | kubectl apply -f -",
    ),
    (
        "Replace the official chart, with its values",
        "deployctl manifests worker --values values.yaml | kubectl apply -f -",
    ),
    output_options=False,
)
def worker(ctx: CommandContext, options: WorkerManifestOptions) -> None:
    """Print the manifests of a worker."""
    from deployctl.cli.render.manifests import manifests
    from deployctl.core.diagnostics import Report
    from deployctl.manifests import settings
    from deployctl.manifests.values import (
        check_values,
        complete,
        default_values,
        merged,
        with_current_names,
    )
    from deployctl.manifests.worker import worker_objects
    from deployctl.project.document import read_document

    values = default_values()
    for path in options.values:
        found = Report()
        document = read_document(path, found, "--values")
        # Helm accepts an empty file, too.
        ctx.report.extend(each for each in found if each.code != "DC108")
        if document is not None:
            ctx.sources[document.file] = document.text
            check_values(document, ctx.report)
            values = merged(values, with_current_names(document.data))
    if not ctx.report.errors:
        values = complete(merged(values, _values_of(options)))
        settings.check(values, ctx.report)
    if not ctx.report.errors:
        print(manifests(worker_objects(values)), end="")


worker.add_to(app)


def _values_of(options: WorkerManifestOptions) -> dict[str, Json]:
    """The values that the options stand for."""
    from deployctl.project.job_templates import read_template

    config: dict[str, Json] = {
        "workPool": options.pool,
        "workQueues": options.work_queue,
        "limit": options.limit,
        "jobNamespace": ",".join(options.job_namespace),
    }
    if options.base_job_template:
        template = json.dumps(read_template(options.base_job_template), indent=2)
        config["baseJobTemplate"] = {"configuration": template}
    worker: dict[str, Json] = {"config": config, "replicaCount": options.replicas}
    if options.image:
        repository, _, tag = options.image.rpartition(":")
        tagged = repository and "/" not in tag and "@" not in repository
        worker["image"] = (
            {"repository": repository, "prefectTag": tag}
            if tagged
            else {"repository": options.image, "prefectTag": "latest"}
        )
    server: dict[str, Json] = {"apiUrl": options.api_url}
    if options.auth_secret:
        server["basicAuth"] = {"enabled": True, "existingSecret": options.auth_secret}
    worker["selfHostedServerApiConfig"] = server
    return _given(
        {
            "fullnameOverride": options.name,
            "namespaceOverride": options.namespace,
            "worker": worker,
        }
    )


def _given(tree: dict[str, Json]) -> dict[str, Json]:
    """A tree without the values that no option set."""
    cut = {key: _given(value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in cut.items() if value not in (None, "", [], {})}
