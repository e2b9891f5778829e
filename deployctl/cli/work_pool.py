"""`deployctl work-pool …`: manages work pools without a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.help import HelpGroup
from deployctl.cli.options import ConnectionOptions, option

_POOL = "Work pool"
_MAX_NAMES = 10
"""Names of deployments in a message."""

Name: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Name of the work pool.", autocompletion=completion.work_pools
    ),
]
Template: TypeAlias = Annotated[
    Path | None,
    option(
        "--base-job-template FILE",
        _POOL,
        "Set the base job template from a JSON file.",
        default="unchanged; for a new pool, its type's",
    ),
]
Limit: TypeAlias = Annotated[
    int | None,
    option(
        "--concurrency-limit N",
        _POOL,
        "Limit the number of concurrent runs.",
        min=0,
        default="unchanged; for a new pool, none",
    ),
]
Description: TypeAlias = Annotated[
    str | None,
    option(
        "--description, -d TEXT",
        _POOL,
        "Set the description.",
        default="unchanged; for a new pool, none",
    ),
]
Paused: TypeAlias = Annotated[
    bool | None,
    option(
        "--paused/--no-paused",
        _POOL,
        "Pause the work pool, or resume it.",
        default="unchanged; for a new pool, no-paused",
    ),
]


@command(
    "work-pool ls",
    ("List all work pools", "deployctl work-pool ls"),
    ("Print their names", "deployctl work-pool ls --output json | jq -r '.work_pools[].name'"),
)
def ls(ctx: CommandContext, server: ConnectionOptions) -> None:
    """List the work pools."""
    from deployctl.api.driver import run
    from deployctl.api.work_pools import list_pools
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import connect

    with connect(ctx, server) as session:
        pools = run(list_pools(), session)
    ctx.data["work_pools"] = [render.pool_json(pool) for pool in pools]
    ctx.print(render.pools(pools))


@command(
    "work-pool inspect",
    ("Show a work pool", "deployctl work-pool inspect worker-pool"),
    (
        "Save its base job template",
        "deployctl work-pool inspect worker-pool --output json"
        " | jq .work_pool.base_job_template > template.json",
    ),
)
def inspect(ctx: CommandContext, name: Name, server: ConnectionOptions) -> None:
    """Show a work pool and its base job template."""
    from deployctl.api.driver import run
    from deployctl.app.operating.lookup import find_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import connect

    with connect(ctx, server) as session:
        pool = run(find_pool(name), session)
    ctx.data["work_pool"] = render.pool_json(pool)
    ctx.print(render.pool(pool))


@command(
    "work-pool create",
    ("Create a Kubernetes work pool", "deployctl work-pool create worker-pool"),
    (
        "Create a process work pool for 4 runs at once",
        "deployctl work-pool create local --type process --concurrency-limit 4",
    ),
)
def create(
    ctx: CommandContext,
    name: Name,
    server: ConnectionOptions,
    type_: Annotated[
        str, option("--type, -t TYPE", _POOL, "Type of the work pool.")
    ] = "kubernetes",
    base_job_template: Template = None,
    concurrency_limit: Limit = None,
    description: Description = None,
    paused: Paused = None,
) -> None:
    """Create a work pool."""
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import create_pool, new_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import connect

    with connect(ctx, server) as session:
        fields = _fields(base_job_template, concurrency_limit, description, paused)
        pool = run(create_pool(name, new_pool(type_, fields)), session)
    ctx.data["work_pool"] = render.pool_json(pool)
    ctx.print([f"work pool '{name}' of type '{type_}' created"])


@command(
    "work-pool update",
    ("Pause a work pool", "deployctl work-pool update worker-pool --paused"),
    (
        "Replace its base job template",
        "deployctl work-pool update worker-pool --base-job-template template.json",
    ),
)
def update(
    ctx: CommandContext,
    name: Name,
    server: ConnectionOptions,
    base_job_template: Template = None,
    concurrency_limit: Limit = None,
    description: Description = None,
    paused: Paused = None,
) -> None:
    """Change the given fields of a work pool, and leave its other fields as they are."""
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import update_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import connect
    from deployctl.core.errors import UsageError

    with connect(ctx, server) as session:
        fields = _fields(base_job_template, concurrency_limit, description, paused)
        if not fields:
            raise UsageError("nothing to change", help="Give at least one option; see --help.")
        pool, changed = run(update_pool(name, fields), session)
    ctx.data["work_pool"] = render.pool_json(pool)
    ctx.data["changed"] = changed
    ctx.print([f"work pool '{name}' {'updated' if changed else 'unchanged'}"])


@command(
    "work-pool delete",
    ("Delete a work pool after a prompt", "deployctl work-pool delete worker-pool"),
    ("Delete it without a prompt, as in CI", "deployctl work-pool delete worker-pool --yes"),
)
def delete(
    ctx: CommandContext,
    name: Name,
    server: ConnectionOptions,
    yes: Annotated[bool, option("--yes, -y", _POOL, "Delete without a prompt.")] = False,
) -> None:
    """Delete a work pool and its queues. Prompts on a terminal; elsewhere, --yes is required.

    Deployments in the pool stay, without a pool; the prompt, the refusal to delete without --yes
    and the result name them.
    """
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import delete_pool, deployments_in_pool
    from deployctl.cli.confirm import check_terminal, confirm
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.server import connect
    from deployctl.core.suggest import quoted

    ctx.progress.close()
    with connect(ctx, server) as session:
        deployments = run(deployments_in_pool(name), session)
        if not yes:
            effect = _effect(deployments)
            check_terminal(f"deleting the work pool '{name}'", effect)
            question = f"Delete the work pool '{name}' and its queues? {effect}".strip()
            if not confirm(question):
                ctx.print([f"work pool '{name}' not deleted"])
                raise Exit(FAILED)
        run(delete_pool(name), session)
    ctx.data |= {"deleted": name, "deployments": deployments}
    ctx.print([f"work pool '{name}' deleted"])
    if deployments:
        ctx.print([f"without a work pool now: {quoted(deployments)}"])


@command(
    "work-pool get-default-base-job-template",
    (
        "Print the template of Kubernetes work pools",
        "deployctl work-pool get-default-base-job-template --type kubernetes",
    ),
    (
        "Save the template of Docker work pools",
        "deployctl work-pool get-default-base-job-template --type docker --file template.json",
    ),
    output_options=False,
)
def get_default_base_job_template(
    ctx: CommandContext,
    type_: Annotated[str, option("--type, -t TYPE", _POOL, "Type of the work pool.")],
    file: Annotated[
        Path | None,
        option("--file, -f FILE", _POOL, "Write the template to FILE.", default="stdout"),
    ] = None,
) -> None:
    """Print the base job template that `create` gives a work pool of a type, as JSON."""
    import json

    from deployctl.app.operating.work_pools import known_template
    from deployctl.core.errors import UsageError

    text = json.dumps(known_template(type_), indent=2, ensure_ascii=False)
    if file is None:
        ctx.print([text])
        return
    try:
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write '{file}': {error.strerror}") from error


def _fields(
    template: Path | None, limit: int | None, description: str | None, paused: bool | None
) -> dict[str, Any]:
    """The fields that the options set, by their names in the API. Raises TemplateError."""
    from deployctl.project.job_templates import read_template

    values = {
        "base_job_template": read_template(template) if template else None,
        "concurrency_limit": limit,
        "description": description,
        "is_paused": paused,
    }
    return {name: value for name, value in values.items() if value is not None}


def _effect(deployments: Sequence[str]) -> str:
    """A sentence that says which deployments lose their pool; empty if there are none."""
    from deployctl.core.suggest import shortened

    if not deployments:
        return ""
    count = f"{len(deployments)} deployment{'s' * (len(deployments) != 1)}"
    names = shortened([f"'{each}'" for each in deployments], _MAX_NAMES)
    return f"{count} would be without a work pool: {names}."


app = typer.Typer(
    cls=HelpGroup,
    help="Show, create, change and delete work pools.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="# Create a work pool\n"
    "deployctl work-pool create worker-pool\n"
    "# List all work pools\n"
    "deployctl work-pool ls",
)
for _command in (ls, inspect, create, update, delete, get_default_base_job_template):
    _command.add_to(app)
