"""`deployctl status`: what is deployed and how it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deployctl.cli.options import ConnectionOptions, OutputOptions

if TYPE_CHECKING:
    from deployctl.app.operating.status import Scope
    from deployctl.cli.command import CommandContext


def status(
    connecting: ConnectionOptions,
    telling: OutputOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Deployments: NAME, FLOW/NAME, or a pattern with *.",
            show_default=False,
        ),
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", "-p", help="The deployments of this work pool.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All that is on the server, whatever the file says.")
    ] = False,
    prefect_file: Annotated[
        list[Path] | None,
        typer.Option(
            "--prefect-file", help="The file whose deployments are meant. Default: prefect.yaml"
        ),
    ] = None,
) -> None:
    """Show work pools, deployments with their last and next runs, and runs that are stuck.

    Without names and --pool, those of prefect.yaml, and where there is none, all on the server.
    """
    from dataclasses import asdict
    from datetime import UTC, datetime

    from deployctl.api.driver import run as hold
    from deployctl.app.operating.status import read_status
    from deployctl.cli.render import status as render
    from deployctl.cli.server import asking

    with asking("status", connecting, telling) as (now, opened):
        given = bool(names or pool or everything)
        scope = _scope(now, tuple(names or ()), pool, prefect_file or [], in_file=not given)
        clock = datetime.now(UTC)
        found = hold(read_status(scope, clock), opened)
        now.data |= asdict(found)
        now.say(render.status(found, clock))


def _scope(
    now: CommandContext,
    names: tuple[str, ...],
    pool: str | None,
    files: list[Path],
    *,
    in_file: bool,
) -> Scope:
    from deployctl.app.operating.status import Scope
    from deployctl.cli.project import DEFAULT_FILE, load_all

    if not files and not (in_file and DEFAULT_FILE.exists()):
        return Scope(None, names, pool)
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.project.selection import Selection

    loaded = load_all(now, LoadOptions(Selection(everything=True)), files)
    keys = tuple((one.facts.name, one.spec.name) for each in loaded for one in each.selected)
    return Scope(keys, names, pool)
