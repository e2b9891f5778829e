"""`deployctl export`: writes a prefect.yaml from what a server has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from deployctl.cli import completion
from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import OUTPUT, ConnectionOptions, option
from deployctl.cli.selection_options import SELECTION

_FILE = "File"


@command(
    "export",
    ("Write all deployments of the server to a file", "deployctl export --all -o prefect.yaml"),
    ("Print those of one flow", "deployctl export -n 'etl/*'"),
)
def export(
    ctx: CommandContext,
    server: ConnectionOptions,
    everything: Annotated[
        bool, option("--all", SELECTION, "Export all deployments of the server.")
    ] = False,
    name: Annotated[
        list[str] | None,
        option(
            "--name, -n NAME",
            SELECTION,
            "Export a deployment by NAME, FLOW/NAME or a pattern with *. May be repeated.",
            default="all, with --all or --pool",
            autocompletion=completion.existing_deployments,
        ),
    ] = None,
    pool: Annotated[
        str | None,
        option(
            "--pool, -p NAME",
            SELECTION,
            "Export the deployments of this work pool.",
            default="all work pools",
            autocompletion=completion.work_pools,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option("--out, -o FILE", OUTPUT, "Write FILE, which must not exist.", default="stdout"),
    ] = None,
    force: Annotated[bool, option("--force", OUTPUT, "Replace the file of --out.")] = False,
    project: Annotated[
        str | None,
        option(
            "--project NAME",
            _FILE,
            "The file's 'name', under which deploys record what they applied.",
            default="the name of the file's folder",
        ),
    ] = None,
) -> None:
    """Write a prefect.yaml that declares what the server has.

    A plan of that file says "no changes". Secrets are not written: environment variables stand in
    their place. What the file cannot say is left out, and stays on the server as it is.
    """
    from deployctl.api.dialect import detect, warn_if_untested
    from deployctl.api.driver import run
    from deployctl.app.exporting.export import export as export_state
    from deployctl.app.exporting.reading import ExportSelection, read_server
    from deployctl.cli.files import check_absent, write_file
    from deployctl.cli.options import OutputFormat
    from deployctl.cli.server import connect
    from deployctl.core.errors import UsageError

    if everything and (name or pool):
        raise UsageError("--all excludes --name and --pool", help="Remove one of them.")
    if not (everything or name or pool):
        raise UsageError(
            "the command names no deployments", help="Use --all, --name NAME or --pool NAME."
        )
    if out is not None and not force:
        check_absent(out, "Name another file, or replace it with --force.")
    folder = out.absolute().parent if out else Path.cwd()
    selection = ExportSelection(tuple(name or ()), pool)
    with connect(ctx, server) as session:
        dialect = run(detect(session.settings.is_cloud), session)
        warn_if_untested(dialect, ctx.report)
        state = run(read_server(dialect, selection), session)
    found = export_state(state, project or folder.name, folder, ctx.report)
    ctx.progress.close()
    ctx.data |= {
        "file": str(out) if out else None,
        "text": found.text,
        "deployments": list(found.deployments),
        "left_out": list(found.left_out),
        "variables": list(found.variables),
    }
    if out is not None:
        write_file(out, found.text, replace=force)
        count = len(found.deployments)
        ctx.print([f"{out}: {count} deployment{'s' * (count != 1)}"])
    elif ctx.format is OutputFormat.HUMAN:
        print(found.text, end="")
