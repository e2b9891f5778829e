"""Reads a project file, with the values of the environment that a command names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deployctl.core.diagnostics import Report
from deployctl.project.document import Document, parse_document, read_document
from deployctl.project.environments import (
    check_name,
    with_environment,
    with_name_and_server,
    without_environment,
)
from deployctl.project.selection import Selection

_BEGIN = "Begin with a key of an environment, such as 'name_suffix:'."
_HELP = {"DC108": _BEGIN, "DC109": _BEGIN}


def read_project(
    path: Path,
    selection: Selection,
    environment: str | None,
    environ: Mapping[str, str],
    report: Report,
) -> Document | None:
    """The file with the values of the environment, if one is named; None if that is impossible.

    The file may be missing if `FILE:FLOW -n NAME` needs none. Raises UsageError if the environment
    cannot have this name.
    """
    if selection.entrypoint and selection.names and not path.exists():
        document = parse_document("{}", str(path), report)
    else:
        document = read_document(path, report)
    if document is None:
        return None
    if not environment:
        return without_environment(document, report)
    is_valid, beside = _read_beside(path, environment, report)
    return with_environment(document, environment, beside, environ, report) if is_valid else None


def read_name_and_server(
    path: Path, document: Document, environment: str, environ: Mapping[str, str], report: Report
) -> Document | None:
    """The file with the project's name and the server that it has in an environment.

    None if that is impossible. Raises UsageError if the environment cannot have this name.
    """
    is_valid, beside = _read_beside(path, environment, report)
    if not is_valid:
        return None
    return with_name_and_server(document, environment, beside, environ, report)


def environment_file(path: Path, environment: str) -> Path:
    """The file of an environment beside a project's: `prefect.prod.yaml` for `prefect.yaml`.

    Raises UsageError if the environment cannot have this name.
    """
    check_name(environment)
    return path.with_name(f"{path.stem}.{environment}{path.suffix}")


def _read_beside(path: Path, environment: str, report: Report) -> tuple[bool, Document | None]:
    """The file of the environment, None if there is none; and whether it can be read."""
    beside = environment_file(path, environment)
    if not beside.exists():
        return True, None
    found = Report()
    document = read_document(beside, found)
    # `validate --fix` does not read this file.
    report.extend(replace(each, fix=None, help=_HELP.get(each.code, each.help)) for each in found)
    return document is not None, document
