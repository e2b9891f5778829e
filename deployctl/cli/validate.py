"""`deployctl validate`: checks that need no server, and fixes of what they find."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import OutputFormat, option
from deployctl.cli.selection_options import SelectionOptions

FIX = "Fixes"


@dataclasses.dataclass(frozen=True)
class FixOptions:
    """Whether to correct the file."""

    fix: Annotated[
        bool,
        option(
            "--fix",
            FIX,
            "Correct the file where the help of a diagnostic leaves no choice: misspelt and "
            "misplaced keys, placeholders, missing quotes, duplicates. Comments and layout stay.",
        ),
    ] = False
    diff: Annotated[
        bool, option("--diff", FIX, "Show what --fix would change, and change nothing.")
    ] = False


@command(
    "validate",
    ("Check all deployments in prefect.yaml", "deployctl validate"),
    ("Show what can be corrected in one file", "deployctl validate --prefect-file a.yaml --diff"),
)
def validate(ctx: CommandContext, selection: SelectionOptions, fixes: FixOptions) -> None:
    """Check the file, its schedules, entrypoints and parameters without a server.

    Without a selection, all deployments are checked.
    """
    from deployctl.app.deploying.load import LoadOptions
    from deployctl.cli.console import write
    from deployctl.cli.project import load_all, use_env_files
    from deployctl.core.errors import UsageError

    use_env_files(selection.env_file)
    if fixes.fix or fixes.diff:
        if selection.is_partial:
            help_ = "Leave the selection out, or the fixes."
            raise UsageError("--fix and --diff concern the whole file", help=help_)
        _fix(ctx, selection.files, write_files=not fixes.diff)
    options = LoadOptions(
        selection.selection_or_all,
        environment=selection.env,
        assignments=tuple(selection.assignments),
        offline=True,
    )
    for project in load_all(ctx, options, selection.files):
        project.check_parameters(ctx.report)
    if ctx.format is OutputFormat.HUMAN and not ctx.blocked:
        write([f"{ctx.subject}: no errors."])


def _fix(ctx: CommandContext, files: list[Path], *, write_files: bool) -> None:
    """Fixes the files, or shows the difference that this would make."""
    from deployctl.app.deploying.fix import fix_file
    from deployctl.cli.project_files import DEFAULT_FILE
    from deployctl.core.redact import redact

    found = [fix_file(path, os.environ) for path in files or [DEFAULT_FILE]]
    changed = [each for each in found if each is not None and each.fixed]
    diff = [redact(line) for each in changed for line in each.diff()]
    if write_files:
        for each in changed:
            each.write()
            ctx.print(
                f"{each.path}: fixed {item.code}: {redact(item.message)}" for item in each.fixed
            )
    else:
        ctx.print(diff)
    ctx.data["fixes"] = [
        {"code": item.code, "file": str(each.path), "message": redact(item.message)}
        for each in changed
        for item in each.fixed
    ]
    ctx.data["diff"] = diff
