"""`deployctl validate`: checks that need no server."""

from __future__ import annotations

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import OutputFormat
from deployctl.cli.project_options import (
    SelectionOptions,
)


@command(
    "validate",
    ("Check all deployments in prefect.yaml", "deployctl validate"),
    ("Check one file and fail on warnings", "deployctl validate --prefect-file etl.yaml --strict"),
)
def validate(ctx: CommandContext, selection: SelectionOptions) -> None:
    """Check the file, its schedules, entrypoints and parameters without a server.

    Without a selection, all deployments are checked.
    """
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.cli.console import write
    from deployctl.cli.project import load_all, select_or_all

    for project in load_all(ctx, LoadOptions(select_or_all(selection)), selection.prefect_file):
        project.check_parameters(ctx.report)
    if ctx.format is OutputFormat.HUMAN and not ctx.blocked:
        write([f"{ctx.subject}: no errors."])
