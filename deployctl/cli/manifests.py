"""`deployctl manifests`: Kubernetes manifests, for `kubectl apply -f -`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
_STACK = "Stack"

app = typer.Typer(
    cls=HelpGroup,
    help="Print Kubernetes manifests.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="# Install a worker\n"
    "deployctl manifests worker --pool p --api-url http://prefect:4200/api | kubectl apply -f -\n"
    "# Install a database, a server and a worker, and deploy a project\n"
    "deployctl manifests stack --pool p --project-image etl:1 | kubectl apply -f -",
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
    from deployctl.manifests import settings
    from deployctl.manifests.worker import worker_objects

    values = _read_values(ctx, options)
    if not ctx.report.errors:
        settings.check(values, ctx.report)
    if not ctx.report.errors:
        print(manifests(worker_objects(values)), end="")


@dataclass(frozen=True)
class StackOptions:
    """What a stack has besides its worker."""

    prefect: Annotated[
        Literal["2", "3"],
        option("--prefect MAJOR", _STACK, "Major version of the server: 2 or 3."),
    ] = "3"
    server_image: Annotated[
        str,
        option("--server-image IMAGE", _STACK, "Image of the server.", default="of the version"),
    ] = ""
    database_image: Annotated[
        str,
        option("--database-image IMAGE", _STACK, "Image of the database.", default="postgres:17"),
    ] = ""
    database_password_secret: Annotated[
        str,
        option(
            "--database-password-secret NAME",
            _STACK,
            "Secret that holds the database's password in the key password.",
            default="one with a password that is generated once",
        ),
    ] = ""
    project_image: Annotated[
        str,
        option(
            "--project-image IMAGE",
            _STACK,
            "Image with deployctl and a project, which is deployed before a worker starts.",
            default="deploy nothing",
        ),
    ] = ""
    node_port: Annotated[
        int | None,
        option(
            "--node-port PORT",
            _STACK,
            "Port of the server on every node.",
            min=1,
            max=65535,
            default="in the cluster only",
        ),
    ] = None
    storage: Annotated[str, option("--storage SIZE", _STACK, "Size of the database's volume.")] = (
        "10Gi"
    )
    storage_class: Annotated[
        str,
        option(
            "--storage-class NAME",
            _STACK,
            "Storage class of the database's volume.",
            default="the cluster's",
        ),
    ] = ""


@command(
    "manifests stack",
    (
        "Install a database, a server and a worker",
        "deployctl manifests stack --pool p | kubectl apply -f -",
    ),
    (
        "Also deploy the project of an image",
        "deployctl manifests stack --pool p --project-image etl:1 | kubectl apply -f -",
    ),
    output_options=False,
)
def stack(ctx: CommandContext, options: WorkerManifestOptions, more: StackOptions) -> None:
    """Print the manifests of a database, a server and a worker.

    The worker has the options and values of `manifests worker`.
    """
    from deployctl.cli.render.manifests import manifests
    from deployctl.manifests import settings
    from deployctl.manifests.components import StackSettings
    from deployctl.manifests.stack import check_stack, stack_objects, stack_values

    own = StackSettings(
        prefect=int(more.prefect),
        server_image=more.server_image,
        database_image=more.database_image,
        password_secret=more.database_password_secret,
        project_image=more.project_image,
        node_port=more.node_port,
        storage=more.storage,
        storage_class=more.storage_class,
    )
    values = _read_values(ctx, options)
    if not ctx.report.errors:
        values = stack_values(values)
        check_stack(values, own, ctx.report)
        settings.check(values, ctx.report)
    if not ctx.report.errors:
        print(manifests(stack_objects(values, own)), end="")


@command(
    "manifests password",
    ("Create a password once", "deployctl manifests password --secret prefect-database"),
    ("Create that of another database", "deployctl manifests password --secret other-database"),
    output_options=False,
)
def password(
    ctx: CommandContext,  # noqa: ARG001 - reports errors
    secret: Annotated[str, option("--secret NAME", _STACK, "Secret in the pod's namespace.")],
) -> None:
    """Create the password in a Secret that has none.

    The database of `manifests stack` runs this before it starts.
    """
    from deployctl.app.operating.generated_password import ensure_password
    from deployctl.clients.kubeconfig import connect
    from deployctl.manifests.components import PASSWORD_KEY

    was_added = ensure_password(connect(), secret, PASSWORD_KEY)
    print(f"the Secret '{secret}' {'has a new' if was_added else 'keeps its'} password")


for each in (worker, stack, password):
    each.add_to(app)


def _read_values(ctx: CommandContext, options: WorkerManifestOptions) -> dict[str, Json]:
    """The values of the files and options, complete if there are no errors."""
    from deployctl.core.diagnostics import Report
    from deployctl.manifests.values import (
        check_values,
        complete,
        default_values,
        merged,
        with_current_names,
    )
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
    return values


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
