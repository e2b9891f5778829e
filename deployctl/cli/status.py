"""`deployctl status`: shows what is deployed and the state of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, option
from deployctl.cli.selection_options import SELECTION, environment_option, expand_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployctl.api.session import Session
    from deployctl.app.operating.status import Scope


@command(
    "status",
    ("Show the deployments of prefect.yaml, their pools and stuck runs", "deployctl status"),
    ("Show all deployments of one work pool", "deployctl status --pool worker-pool"),
)
def status(
    ctx: CommandContext,
    server: ConnectionOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Show these deployments: NAME, FLOW/NAME or a pattern with *.",
            show_default=False,
            autocompletion=completion.existing_deployments,
        ),
    ] = None,
    pool: Annotated[
        str | None,
        option(
            "--pool, -p NAME",
            SELECTION,
            "Show the deployments of this work pool.",
            default="all work pools",
            autocompletion=completion.work_pools,
        ),
    ] = None,
    everything: Annotated[
        bool, option("--all", SELECTION, "Show everything on the server; ignore the file.")
    ] = False,
    prefect_file: Annotated[
        list[Path] | None,
        option(
            "--prefect-file FILE",
            SELECTION,
            "Show the deployments of FILE, or of all files that match a pattern. May be repeated.",
            default="prefect.yaml",
        ),
    ] = None,
    env: Annotated[str | None, environment_option(SELECTION)] = None,
) -> None:
    """Show work pools, deployments with their last and next runs, and stuck runs.

    Without names and --pool, shows the deployments of prefect.yaml, or all on the server if there
    is no such file.
    """
    from contextlib import ExitStack
    from datetime import UTC, datetime
    from functools import cache

    from deployctl.api.driver import run
    from deployctl.app.operating.status import read_status
    from deployctl.cli.render import status as render
    from deployctl.cli.server import connect

    with ExitStack() as stack:

        @cache
        def session() -> Session:
            """Opens the session at the first call: the file may say with which server."""
            return stack.enter_context(connect(ctx, server))

        use_file = not (names or pool or everything)
        named = tuple(names or ())
        files = expand_files(prefect_file or [])
        scope = _scope(
            ctx, named, pool, files, env, session, use_file=use_file, everything=everything
        )
        now = datetime.now(UTC)
        found = run(read_status(scope, now), session())
    ctx.data |= render.status_json(found)
    ctx.print(render.status(found, now))


def _scope(
    ctx: CommandContext,
    names: tuple[str, ...],
    pool: str | None,
    files: list[Path],
    env: str | None,
    session: Callable[[], Session],
    *,
    use_file: bool,
    everything: bool,
) -> Scope:
    from deployctl.app.operating.status import Scope
    from deployctl.cli.project import load_all
    from deployctl.cli.project_files import DEFAULT_FILE

    if not files and not env and not (use_file and DEFAULT_FILE.exists()):
        return Scope(None, names, pool)
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.project.selection import Selection

    options = LoadOptions(Selection(everything=True), environment=env, imports=False)
    projects = load_all(ctx, options, files, session)
    if everything and not files:
        return Scope(None, names, pool)  # the file has only said which server
    keys = tuple((one.facts.name, one.spec.name) for each in projects for one in each.selected)
    return Scope(keys, names, pool)
