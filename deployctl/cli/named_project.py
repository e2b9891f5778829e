"""The project that a command works on as a whole, by its name: `destroy`, `history`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, option
from deployctl.cli.selection_options import SELECTION, environment_option

if TYPE_CHECKING:
    from deployctl.api.session import Session
    from deployctl.project.document import Document


@dataclasses.dataclass(frozen=True)
class ProjectOptions:
    """Which project."""

    prefect_file: Annotated[
        Path, option("--prefect-file FILE", SELECTION, "Take the project that FILE names.")
    ] = Path("prefect.yaml")
    project: Annotated[
        str | None,
        option(
            "--project NAME",
            SELECTION,
            "Take this project. No file is read.",
            default="the file's 'name'",
        ),
    ] = None
    env: Annotated[str | None, environment_option(SELECTION)] = None


@contextmanager
def named_project(
    ctx: CommandContext, options: ProjectOptions, server: ConnectionOptions
) -> Iterator[tuple[str, Session]]:
    """The name of the project, as its record has it, and an open session.

    Raises Exit if the file has errors, and UsageError if it has no name.
    """
    from deployctl.cli.project import register_secrets
    from deployctl.cli.server import connect
    from deployctl.project.environments import environment_named, project_in

    register_secrets()
    document = None if options.project else _read(ctx, options)
    ctx.environment = document.environment if document else environment_named(options.env)
    with connect(ctx, server) as session:
        name = _name(ctx, document, session) if document else str(options.project)
        yield project_in(name, ctx.environment), session


def _read(ctx: CommandContext, options: ProjectOptions) -> Document:
    """The file of the project. Raises Exit if it has errors, and UsageError."""
    from deployctl.app.deploying.destroying import read_file
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.cli.project_files import keep_texts

    keep_texts(ctx, options.prefect_file, options.env)
    document = read_file(options.prefect_file, options.env, os.environ, ctx.report)
    if ctx.blocked or document is None:
        raise Exit(FAILED)
    return document


def _name(ctx: CommandContext, document: Document, session: Session) -> str:
    """The name of the project of a file. Raises Exit if it has errors, and UsageError."""
    from deployctl.api.driver import run
    from deployctl.app.deploying.destroying import project_of
    from deployctl.cli.exit import FAILED, Exit
    from deployctl.templating.references import read_references

    name = project_of(
        document, ctx.report, os.environ, lambda found: run(read_references(found), session)
    )
    if ctx.blocked:
        raise Exit(FAILED)
    return name
