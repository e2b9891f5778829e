"""Reads what the code says about each entrypoint, and reports what prevents it.

The text of a module is enough for most flows. The others come from the cache, or are imported
together by the project's own interpreter, which is searched only if some flow needs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.flows.cache import FlowCache, cache_folder
from deployctl.flows.entrypoint import Entrypoint, LocatedEntrypoint, locate, parse_entrypoint
from deployctl.flows.importer import LoadFailure, find_interpreter, load_flows
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.static import FlowNotFound, Module, NotAFlow, read_flow

LOAD_TIMEOUT = 60.0
"""Seconds for importing all flows of one command."""


def inspect_flows(
    entrypoints: Mapping[str, Span | None], folder: Path, report: Report
) -> dict[str, FlowMetadata]:
    """Returns the metadata of each entrypoint that can be read; `report` gets the other ones.

    `folder` is the folder of prefect.yaml; the working directory is searched first.
    """
    folder = folder.resolve()
    reader = _StaticReader(list(dict.fromkeys([Path.cwd(), folder])), report)
    for text, span in entrypoints.items():
        reader.read(text, span)
    if reader.pending:
        _load_pending(reader, folder)
    return {text: reader.metadata[text] for text in entrypoints if text in reader.metadata}


@dataclass(frozen=True, slots=True)
class _PendingEntrypoint:
    """An entrypoint that must be imported."""

    code: str
    """The diagnostic if that is impossible: DC407, or DC406 if the reason is a syntax error."""
    entrypoint: Entrypoint
    base: Path
    """The folder to import it from."""
    reason: str
    """Why the text of the module isn't enough."""
    span: Span | None


class _StaticReader:
    """Reads flows from the text of their modules; each file is parsed once."""

    def __init__(self, bases: Sequence[Path], report: Report) -> None:
        self.metadata: dict[str, FlowMetadata] = {}
        self.pending: list[_PendingEntrypoint] = []
        self.report = report
        self._bases = bases
        self._modules: dict[Path, Module | SyntaxError] = {}

    def read(self, text: str, span: Span | None) -> None:
        """Adds the metadata of an entrypoint, adds it to `pending`, or reports what is wrong."""
        try:
            entrypoint = parse_entrypoint(text)
        except ValueError as error:
            help_ = "Write 'path/to/file.py:function' or 'package.module:function'."
            self.report.add("DC401", f"'{text}' is not an entrypoint: {error}", span, help=help_)
            return
        if entrypoint.is_absolute:
            self._warn_absolute(entrypoint, span)
        located = locate(entrypoint, self._bases)
        if located is not None:
            self._read(located, span)
        elif entrypoint.is_script:
            self._report_no_file(entrypoint, span)
        else:
            reason = f"the module '{entrypoint.location}' is not among the project's files"
            base = self._bases[-1]
            self.pending.append(_PendingEntrypoint("DC407", entrypoint, base, reason, span))

    def _read(self, located: LocatedEntrypoint, span: Span | None) -> None:
        entrypoint, base = located.entrypoint, located.base
        try:
            module = self._module(located.file)
            self.metadata[entrypoint.text] = read_flow(module, entrypoint.object)
        except FlowNotFound as error:
            message = f"'{entrypoint.location}' has no '{entrypoint.object}'"
            help_ = did_you_mean(entrypoint.object, error.known)
            if help_ is None and error.known:
                help_ = f"It has {quoted(error.known)}."
            self.report.add("DC404", message, span, help=help_)
        except NotAFlow:
            _report_not_a_flow(entrypoint, span, self.report)
        except NotStatic as error:
            self.pending.append(_PendingEntrypoint("DC407", entrypoint, base, str(error), span))
        except SyntaxError as error:
            reason = f"{located.file.name}:{error.lineno}: {error.msg}"
            self.pending.append(_PendingEntrypoint("DC406", entrypoint, base, reason, span))
        except (OSError, ValueError) as error:
            message = f"'{entrypoint.location}' cannot be read: {error}"
            self.report.add("DC403", message, span)

    def _module(self, file: Path) -> Module:
        if file not in self._modules:
            try:
                self._modules[file] = Module(file)
            except SyntaxError as error:
                self._modules[file] = error
        if isinstance(module := self._modules[file], SyntaxError):
            raise module
        return module

    def _warn_absolute(self, entrypoint: Entrypoint, span: Span | None) -> None:
        message = f"'{entrypoint.location}' is an absolute path, and is stored as such"
        help_ = "Write it relative to the project's folder, so that runs find it elsewhere."
        self.report.add("DC402", message, span, help=help_)

    def _report_no_file(self, entrypoint: Entrypoint, span: Span | None) -> None:
        missing = Path(entrypoint.location)
        known = [
            str(missing.with_name(file.name))
            for base in self._bases
            for file in sorted((base / missing).parent.glob("*.py"))
        ]
        folders = " or ".join(f"'{base}'" for base in self._bases)
        message = f"there is no file '{entrypoint.location}'"
        help_ = did_you_mean(entrypoint.location, known) or f"Paths are relative to {folders}."
        self.report.add("DC403", message, span, help=help_)


def _load_pending(reader: _StaticReader, folder: Path) -> None:
    """Reads the pending entrypoints from the cache, or else in the project's interpreter."""
    interpreter = find_interpreter(folder, os.environ)
    if interpreter is None:
        for item in reader.pending:
            _report_no_interpreter(item, reader.report)
        return
    cache = FlowCache(cache_folder(os.environ), interpreter)
    uncached = []
    for item in reader.pending:
        cached = cache.get(item.entrypoint.text, item.base)
        if cached is None:
            uncached.append(item)
        else:
            reader.metadata[item.entrypoint.text] = cached
    if not uncached:
        return
    tasks = [(item.entrypoint.text, item.base) for item in uncached]
    results = load_flows(interpreter, tasks, LOAD_TIMEOUT)
    for item in uncached:
        result = results[item.entrypoint.text]
        if result.metadata is not None:
            reader.metadata[item.entrypoint.text] = result.metadata
            cache.put(item.entrypoint.text, item.base, result)
        if result.failure is not None:
            _report_failure(item, result.failure, result.metadata, reader.report)


def _report_not_a_flow(entrypoint: Entrypoint, span: Span | None, report: Report) -> None:
    message = f"'{entrypoint.object}' in '{entrypoint.location}' is not a flow"
    report.add("DC405", message, span, help="Decorate the function with '@flow'.")


def _report_no_interpreter(item: _PendingEntrypoint, report: Report) -> None:
    if item.code == "DC406":
        message = f"'{item.entrypoint.location}' is not valid Python: {item.reason}"
        help_ = (
            "Correct it. If it uses newer syntax, install Prefect into the project's .venv, or run "
            "deployctl in an environment that has it."
        )
    else:
        message = (
            f"the flow of '{item.entrypoint.text}' must be imported, "
            f"and no Python here has Prefect: {item.reason}"
        )
        help_ = (
            "Install Prefect into the project's .venv, run deployctl in an environment that has "
            "it, or simplify that part of the code."
        )
    report.add(item.code, message, item.span, help=help_)


def _report_failure(
    item: _PendingEntrypoint,
    failure: LoadFailure,
    metadata: FlowMetadata | None,
    report: Report,
) -> None:
    """Reports why a flow could not be loaded, or only in part."""
    entrypoint, span, types = item.entrypoint, item.span, failure.exception_types
    location = f" ({failure.file}:{failure.line})" if failure.file else ""
    cause = f"{types[-1]}: {failure.message}{location}" if types else failure.message
    if metadata is not None:
        message = f"'{entrypoint.location}' cannot be imported here, its flow was read in part"
        report.add("DC410", f"{message}: {cause}", span, help="Install what it imports.")
    elif not types:
        message = f"'{entrypoint.text}' could not be loaded: {cause}"
        help_ = "Move long-running code out of the module's top level."
        report.add("DC409", message, span, help=help_)
    elif types[-1] == "MissingFlowError":
        _report_not_a_flow(entrypoint, span, report)
    elif types[0] == "MissingFlowError" and not location:
        message = f"'{entrypoint.location}' has no '{entrypoint.object}'"
        report.add("DC404", message, span)
    elif types[-1] in ("SyntaxError", "IndentationError", "TabError"):
        message = f"'{entrypoint.location}' is not valid Python: {failure.message}{location}"
        report.add("DC406", message, span)
    else:
        message = f"'{entrypoint.text}' cannot be imported: {cause}"
        help_ = "Start with the named line, the last one of your own code in the traceback."
        report.add("DC408", message, span, help=help_ if location else None)
