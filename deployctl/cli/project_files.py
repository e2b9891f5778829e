"""Reads the project files of a command, with the values of the environment that it names."""

from __future__ import annotations

import os
from pathlib import Path

from deployctl.app.deploying.load import LoadOptions
from deployctl.app.deploying.project_file import environment_file, read_project
from deployctl.cli.context import CommandContext
from deployctl.core.errors import UsageError
from deployctl.project.assignments import apply_assignments, parse_assignment
from deployctl.project.document import Document

DEFAULT_FILE = Path("prefect.yaml")


def read_files(ctx: CommandContext, options: LoadOptions, files: list[Path]) -> list[Document]:
    """The files as far as they can be read; their environment is put into the context.

    Raises UsageError if they name several servers for it, and for a wrong `--set`.
    """
    documents = []
    for path in files or [DEFAULT_FILE]:
        keep_texts(ctx, path, options.environment)
        document = read_project(
            path, options.selection, options.environment, os.environ, ctx.report
        )
        documents += [document] if document else []
    environments = {each.environment for each in documents if each.environment}
    if len(environments) > 1:
        raise UsageError(
            f"the files name several servers for the environment '{options.environment}'",
            help="Give them the same 'api_url' and 'profile', or deploy them one by one.",
        )
    for environment in environments:
        ctx.environment = environment
        ctx.data["environment"] = environment.name
    return _with_assignments(ctx, options, documents)


def _with_assignments(
    ctx: CommandContext, options: LoadOptions, documents: list[Document]
) -> list[Document]:
    """The files with the values of `--set`.

    Raises UsageError, also if no file has the deployment or work pool that one names.
    """
    given = [parse_assignment(each, ctx.report) for each in options.assignments]
    if not given or not documents:
        return documents
    found = [apply_assignments(document, given) for document in documents]
    for assignment in given:
        errors = [missing.get(assignment.option) for _, missing in found]
        if errors[0] and all(errors):
            raise errors[0]
    return [document for document, _ in found]


def keep_texts(ctx: CommandContext, path: Path, environment: str | None) -> None:
    """Keeps the texts of a file, and of that of the environment, to show lines of diagnostics.

    Raises UsageError if the environment cannot have this name.
    """
    for each in (path, *([environment_file(path, environment)] if environment else [])):
        ctx.sources[str(each)] = _text(each)


def _text(path: Path) -> str:
    """The text of a file, to show the lines of diagnostics; "" if it can't be read."""
    try:
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
