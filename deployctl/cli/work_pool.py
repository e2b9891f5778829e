"""`deployctl work-pool …`: work pools without a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from deployctl.cli.options import ConnectionOptions, OutputOptions, flattened

Name: TypeAlias = Annotated[str, typer.Argument(help="The name of the work pool.")]
Template: TypeAlias = Annotated[
    Path | None, typer.Option("--base-job-template", help="A JSON file.", metavar="FILE")
]
Limit: TypeAlias = Annotated[
    int | None, typer.Option("--concurrency-limit", min=0, help="Runs at once.")
]
Description: TypeAlias = Annotated[
    str | None, typer.Option("--description", "-d", help="The description.")
]
Paused: TypeAlias = Annotated[
    bool | None, typer.Option("--paused/--no-paused", help="Whether runs wait.")
]


def ls(connecting: ConnectionOptions, telling: OutputOptions) -> None:
    """List the work pools."""
    from deployctl.api.driver import run
    from deployctl.api.work_pools import list_pools
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import asking

    with asking("work-pool ls", connecting, telling) as (now, opened):
        found = run(list_pools(), opened)
        now.data["work_pools"] = [render.pool_json(pool) for pool in found]
        now.say(render.pools(found))


def inspect(name: Name, connecting: ConnectionOptions, telling: OutputOptions) -> None:
    """Show a work pool and its base job template."""
    from deployctl.api.driver import run
    from deployctl.app.operating.lookup import find_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import asking

    with asking("work-pool inspect", connecting, telling) as (now, opened):
        found = run(find_pool(name), opened)
        now.data["work_pool"] = render.pool_json(found)
        now.say(render.pool(found))


def create(
    name: Name,
    connecting: ConnectionOptions,
    telling: OutputOptions,
    type_: Annotated[str, typer.Option("--type", "-t", help="Its type.")] = "kubernetes",
    base_job_template: Template = None,
    concurrency_limit: Limit = None,
    description: Description = None,
    paused: Paused = None,
) -> None:
    """Create a work pool."""
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import create_pool, new_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import asking

    with asking("work-pool create", connecting, telling) as (now, opened):
        fields = _fields(base_job_template, concurrency_limit, description, paused)
        made = run(create_pool(name, new_pool(type_, fields)), opened)
        now.data["work_pool"] = render.pool_json(made)
        now.say([f"work pool {name} of type {type_} created"])


def update(
    name: Name,
    connecting: ConnectionOptions,
    telling: OutputOptions,
    base_job_template: Template = None,
    concurrency_limit: Limit = None,
    description: Description = None,
    paused: Paused = None,
) -> None:
    """Change what is given of a work pool, and nothing else."""
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import update_pool
    from deployctl.cli.render import work_pools as render
    from deployctl.cli.server import asking
    from deployctl.core.errors import UsageError

    with asking("work-pool update", connecting, telling) as (now, opened):
        fields = _fields(base_job_template, concurrency_limit, description, paused)
        if not fields:
            raise UsageError("there is nothing to change", help="give an option: see --help")
        changed = run(update_pool(name, fields), opened)
        now.data["work_pool"] = render.pool_json(changed)
        now.say([f"work pool {name} updated"])


def delete(
    name: Name,
    connecting: ConnectionOptions,
    telling: OutputOptions,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a work pool with its queues; asks on a terminal, and needs --yes elsewhere."""
    from deployctl.api.driver import run
    from deployctl.app.operating.work_pools import delete_pool
    from deployctl.cli.command import run_command
    from deployctl.cli.exit import Exit
    from deployctl.cli.server import session

    with run_command(
        "work-pool delete",
        telling.output,
        strict=telling.strict,
        show_traceback=telling.traceback,
    ) as now:
        now.narrator.close()
        if not yes and not _agreed(name):
            now.say([f"work pool {name} is left as it is"])
            raise Exit(1)
        with session(now, connecting) as (opened, _):
            run(delete_pool(name), opened)
        now.data["deleted"] = name
        now.say([f"work pool {name} deleted"])


def get_default_base_job_template(
    type_: Annotated[str, typer.Option("--type", "-t", help="The type of the work pool.")],
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Write it there.", metavar="FILE")
    ] = None,
) -> None:
    """Print the template that `create` gives a work pool of a type, as JSON."""
    import json

    from deployctl.app.operating.work_pools import known_template
    from deployctl.cli.command import run_command
    from deployctl.cli.render import Format
    from deployctl.core.errors import UsageError

    with run_command("work-pool get-default-base-job-template", Format.HUMAN) as now:
        text = json.dumps(known_template(type_), indent=2, ensure_ascii=False)
        if file is None:
            now.say([text])
            return
        try:
            file.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"'{file}' cannot be written: {error.strerror}") from error


def _fields(
    template: Path | None, limit: int | None, description: str | None, paused: bool | None
) -> dict[str, Any]:
    """What the options say, by the API's names. Raises TemplateError."""
    from deployctl.app.job_templates import read_template

    given = {
        "base_job_template": read_template(template) if template else None,
        "concurrency_limit": limit,
        "description": description,
        "is_paused": paused,
    }
    return {name: value for name, value in given.items() if value is not None}


def _agreed(name: str) -> bool:
    """What the person at the terminal says. Raises UsageError where there is none."""
    import sys

    from deployctl.core.errors import UsageError

    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            f"the work pool '{name}' is not deleted without being asked for", help="add --yes"
        )
    try:
        return typer.confirm(f"Delete the work pool '{name}' and its queues?", err=True)
    except typer.Abort:
        return False


app = typer.Typer(help="Look at work pools, make, change and delete them.", no_args_is_help=True)
for command in (ls, inspect, create, update, delete, get_default_base_job_template):
    app.command()(flattened(command))
