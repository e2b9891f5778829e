"""Diagnostics about entrypoints and the code of flows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.flows.entrypoint import Entrypoint, LocatedEntrypoint
from deployctl.flows.importer import LoadFailure
from deployctl.flows.metadata import FlowMetadata

_NAME_IT = "Write the flow's name as 'flow_name:' into the entry of the deployment"
_SIMPLIFY = "Install Prefect and what the code imports here, or simplify that part of the code."


@dataclass(frozen=True, slots=True)
class PendingEntrypoint:
    """An entrypoint whose text alone does not give all metadata."""

    located: LocatedEntrypoint
    reason: str
    """Why the text of the module isn't enough."""
    span: Span | None
    partial: FlowMetadata | None
    """What the text gives; None if it does not even give the flow's name."""
    is_invalid: bool = False
    """Whether the file is not valid Python, at least not for our version."""

    @property
    def entrypoint(self) -> Entrypoint:
        """The entrypoint as the file has it."""
        return self.located.entrypoint


def report_not_an_entrypoint(text: str, error: Exception, span: Span | None, to: Report) -> None:
    """DC401: the text of an entrypoint has none of the valid forms."""
    help_ = "Write 'path/to/file.py:function' or 'package.module:function'."
    to.add("DC401", f"'{text}' is not an entrypoint: {error}", span, help=help_)


def report_absolute_path(entrypoint: Entrypoint, span: Span | None, report: Report) -> None:
    """DC402: the path exists on this machine only."""
    message = f"'{entrypoint.location}' is an absolute path, and is stored as such"
    help_ = "Write it relative to the project's folder, so that runs find it elsewhere."
    report.add("DC402", message, span, help=help_)


def report_no_file(
    entrypoint: Entrypoint, bases: Sequence[Path], span: Span | None, report: Report
) -> None:
    """DC403: no folder has the file of the entrypoint."""
    missing = Path(entrypoint.location)
    known = [
        str(missing.with_name(file.name))
        for base in bases
        for file in sorted((base / missing).parent.glob("*.py"))
    ]
    folders = " or ".join(f"'{base}'" for base in bases)
    message = f"there is no file '{entrypoint.location}'"
    help_ = did_you_mean(entrypoint.location, known) or f"Paths are relative to {folders}."
    report.add("DC403", message, span, help=help_)


def report_unreadable(
    entrypoint: Entrypoint, error: Exception, at: Span | None, to: Report
) -> None:
    """DC403: the file of the entrypoint cannot be read."""
    to.add("DC403", f"'{entrypoint.location}' cannot be read: {error}", at)


def report_no_object(
    entrypoint: Entrypoint, known: Sequence[str], span: Span | None, report: Report
) -> None:
    """DC404: the module has no such name."""
    message = f"'{entrypoint.location}' has no '{entrypoint.object}'"
    help_ = did_you_mean(entrypoint.object, known)
    if help_ is None and known:
        help_ = f"It has {quoted(known)}."
    report.add("DC404", message, span, help=help_)


def report_not_a_flow(entrypoint: Entrypoint, span: Span | None, report: Report) -> None:
    """DC405: the name refers to something else."""
    message = f"'{entrypoint.object}' in '{entrypoint.location}' is not a flow"
    report.add("DC405", message, span, help="Decorate the function with '@flow'.")


def report_unknown_name(item: PendingEntrypoint, reason: str, report: Report) -> None:
    """DC406 or DC407: without an import, not even the flow's name is known."""
    entrypoint = item.entrypoint
    if item.is_invalid:
        message = f"'{entrypoint.location}' is not valid Python: {item.reason}"
        help_ = (
            "Correct it. If it uses newer syntax, install Prefect into the project's .venv, or run "
            "deployctl in an environment that has it."
        )
        report.add("DC406", message, item.span, help=help_)
        return
    message = f"the name of the flow '{entrypoint.text}' is not known: {reason}"
    help_ = f"{_NAME_IT}, or install Prefect into the project's .venv."
    report.add("DC407", message, item.span, help=help_)


def report_open_schema(
    item: PendingEntrypoint, metadata: FlowMetadata, reason: str, report: Report
) -> None:
    """DC410: some parameters could not be read, so nothing about them is checked."""
    if metadata.unknown:
        names = quoted(metadata.unknown)
        plural = "s" * (len(metadata.unknown) > 1)
        what = f"the schema of parameter{plural} {names} of '{item.entrypoint.text}' is open"
    elif metadata.parameter_schema.get("additionalProperties"):
        what = f"the schema of all parameters of '{item.entrypoint.text}' is open"
    else:
        what = f"'{item.entrypoint.location}' was not imported, its flow was read from its text"
    report.add("DC410", f"{what}: {reason}", item.span, help=_SIMPLIFY)


def report_partly_loaded(item: PendingEntrypoint, failure: LoadFailure, report: Report) -> None:
    """DC410: the module could not be imported, its flow was put together from its parts."""
    location = item.entrypoint.location
    message = f"'{location}' cannot be imported here, its flow was read in part: {cause(failure)}"
    report.add("DC410", message, item.span, help="Install what it imports.")


def report_failure(item: PendingEntrypoint, failure: LoadFailure, report: Report) -> None:
    """DC404 to DC406, DC408 or DC409: importing the module failed."""
    entrypoint, span, types = item.entrypoint, item.span, failure.exception_types
    if not types:
        message = f"'{entrypoint.text}' could not be loaded: {cause(failure)}"
        help_ = f"Move long-running code out of the module's top level. {_NAME_IT} otherwise."
        report.add("DC409", message, span, help=help_)
    elif types[-1] == "MissingFlowError":
        report_not_a_flow(entrypoint, span, report)
    elif types[0] == "MissingFlowError" and not failure.file:
        report_no_object(entrypoint, (), span, report)
    elif failure.is_syntax_error:
        message = f"'{entrypoint.location}' is not valid Python: {_located(failure)}"
        help_ = f"Correct line {failure.line} of it." if failure.file else "Correct its syntax."
        report.add("DC406", message, span, help=help_)
    else:
        message = f"'{entrypoint.text}' cannot be imported: {cause(failure)}"
        help_ = "Start with the named line, the last one of your own code in the traceback."
        report.add("DC408", message, span, help=help_ if failure.file else None)


def cause(failure: LoadFailure) -> str:
    """Returns the root cause of a failure, with the line that raised it."""
    types = failure.exception_types
    return f"{types[-1]}: {_located(failure)}" if types else failure.message


def _located(failure: LoadFailure) -> str:
    return failure.message + (f" ({failure.file}:{failure.line})" if failure.file else "")
