"""Finds out what the code says about each entrypoint, and reports what stands in the way.

The text of a module is enough for most flows. The others are remembered from last time, or loaded
together by the project's own interpreter, which is not even looked for as long as no flow needs it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.core.suggest import did_you_mean
from deployctl.flows.cache import FlowCache, cache_folder
from deployctl.flows.entrypoint import Entrypoint, LocatedEntrypoint, locate, parse_entrypoint
from deployctl.flows.importer import LoadFailure, find_interpreter, load_flows
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.static import FlowMissing, Module, NotAFlow, read_flow

SECONDS_TO_LOAD = 60.0
"""For all the flows of one command that have to be imported."""


def inspect_flows(
    entrypoints: Mapping[str, Span | None], folder: Path, report: Report
) -> dict[str, FlowMetadata]:
    """The facts about each entrypoint that could be read; the others are in the report.

    `folder` is that of prefect.yaml; the working directory is looked into first.
    """
    folder = folder.resolve()
    reader = _Reader(list(dict.fromkeys([Path.cwd(), folder])), report)
    for text, span in entrypoints.items():
        reader.read(text, span)
    if reader.pending:
        _load(reader, folder)
    return {text: reader.facts[text] for text in entrypoints if text in reader.facts}


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entrypoint that has to be loaded, the folder to do so from, and why."""

    code: str
    """Of the diagnostic if it cannot be: DC407, or DC406 where the reason is a syntax error."""
    entrypoint: Entrypoint
    base: Path
    reason: str
    span: Span | None


class _Reader:
    """Reads what the text of modules tells; each file is parsed once."""

    def __init__(self, bases: Sequence[Path], report: Report) -> None:
        self.facts: dict[str, FlowMetadata] = {}
        self.pending: list[_Pending] = []
        self.report = report
        self._bases = bases
        self._modules: dict[Path, Module | SyntaxError] = {}

    def read(self, text: str, span: Span | None) -> None:
        """Adds the facts of an entrypoint, or that it is pending, or what is wrong with it."""
        try:
            entrypoint = parse_entrypoint(text)
        except ValueError as error:
            help_ = "write 'path/to/file.py:function' or 'package.module:function'"
            self.report.add("DC401", f"'{text}' is no entrypoint: {error}", span, help=help_)
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
            self.pending.append(_Pending("DC407", entrypoint, self._bases[-1], reason, span))

    def _read(self, located: LocatedEntrypoint, span: Span | None) -> None:
        entrypoint = located.entrypoint
        try:
            self.facts[entrypoint.text] = read_flow(self._module(located.file), entrypoint.object)
        except FlowMissing as error:
            where = f"'{entrypoint.location}' has no '{entrypoint.object}'"
            guess = did_you_mean(entrypoint.object, error.known)
            self.report.add("DC404", where, span, help=guess or _listed(error.known))
        except NotAFlow:
            _report_no_flow(entrypoint, span, self.report)
        except NotStatic as error:
            self.pending.append(_Pending("DC407", entrypoint, located.base, str(error), span))
        except SyntaxError as error:
            reason = f"{located.file.name}:{error.lineno}: {error.msg}"
            self.pending.append(_Pending("DC406", entrypoint, located.base, reason, span))
        except (OSError, ValueError) as error:
            message = f"'{entrypoint.location}' cannot be read: {error}"
            self.report.add("DC403", message, span)

    def _module(self, file: Path) -> Module:
        if file not in self._modules:
            try:
                self._modules[file] = Module(file)
            except SyntaxError as error:
                self._modules[file] = error
        if isinstance(found := self._modules[file], SyntaxError):
            raise found
        return found

    def _warn_absolute(self, entrypoint: Entrypoint, span: Span | None) -> None:
        message = f"'{entrypoint.location}' is a path of this machine, and is stored as it is"
        help_ = "write it relative to the project's folder, so that it is found where runs start"
        self.report.add("DC402", message, span, help=help_)

    def _report_no_file(self, entrypoint: Entrypoint, span: Span | None) -> None:
        wanted = Path(entrypoint.location)
        known = [
            str(wanted.with_name(file.name))
            for base in self._bases
            for file in sorted((base / wanted).parent.glob("*.py"))
        ]
        places = " or ".join(f"'{base}'" for base in self._bases)
        message = f"there is no file '{entrypoint.location}'"
        help_ = did_you_mean(entrypoint.location, known) or f"paths start in {places}"
        self.report.add("DC403", message, span, help=help_)


def _report_no_flow(entrypoint: Entrypoint, span: Span | None, report: Report) -> None:
    """Says that what an entrypoint names is no flow."""
    message = f"'{entrypoint.object}' in '{entrypoint.location}' is not a flow"
    report.add("DC405", message, span, help="put '@flow' above the function")


def _load(reader: _Reader, folder: Path) -> None:
    """Settles what is pending: from the cache where possible, else in the project's interpreter."""
    interpreter = find_interpreter(folder, os.environ)
    if interpreter is None:
        for item in reader.pending:
            _report_no_interpreter(item, reader.report)
        return
    cache = FlowCache(cache_folder(os.environ), interpreter)
    rest = []
    for item in reader.pending:
        known = cache.get(item.entrypoint.text, item.base)
        if known is None:
            rest.append(item)
        else:
            reader.facts[item.entrypoint.text] = known
    if not rest:
        return
    tasks = [(item.entrypoint.text, item.base) for item in rest]
    results = load_flows(interpreter, tasks, SECONDS_TO_LOAD)
    for item in rest:
        loaded = results[item.entrypoint.text]
        if loaded.facts is not None:
            reader.facts[item.entrypoint.text] = loaded.facts
            cache.put(item.entrypoint.text, item.base, loaded)
        if loaded.failure is not None:
            _report_failure(item, loaded.failure, loaded.facts, reader.report)


def _report_no_interpreter(item: _Pending, report: Report) -> None:
    help_ = "install Prefect into the project's .venv, or run deployctl in an environment with it"
    if item.code == "DC406":
        message = f"'{item.entrypoint.location}' is not valid Python: {item.reason}"
        help_ = f"correct it; if it is newer syntax, {help_}"
    else:
        text = item.entrypoint.text
        why = f"and no Python here has Prefect: {item.reason}"
        message = f"the flow of '{text}' has to be imported, {why}"
        help_ += ", or make that part simpler"
    report.add(item.code, message, item.span, help=help_)


def _report_failure(
    item: _Pending, failure: LoadFailure, facts: FlowMetadata | None, report: Report
) -> None:
    """Puts into words why a flow could not be loaded, or only in part."""
    entrypoint, span = item.entrypoint, item.span
    place = f" ({failure.file}:{failure.line})" if failure.file else ""
    what = f"{failure.kinds[-1]}: {failure.message}{place}" if failure.kinds else failure.message
    if facts is not None:
        message = f"'{entrypoint.location}' cannot be imported here, its flow was read in part"
        report.add("DC410", f"{message}: {what}", span, help="install what it imports")
    elif not failure.kinds:
        message = f"'{entrypoint.text}' could not be loaded: {what}"
        report.add("DC409", message, span, help="keep long work out of the module's top level")
    elif failure.kinds[-1] == "MissingFlowError":
        _report_no_flow(entrypoint, span, report)
    elif failure.kinds[0] == "MissingFlowError" and not place:
        message = f"'{entrypoint.location}' has no '{entrypoint.object}'"
        report.add("DC404", message, span)
    elif failure.kinds[-1] in ("SyntaxError", "IndentationError", "TabError"):
        message = f"'{entrypoint.location}' is not valid Python: {failure.message}{place}"
        report.add("DC406", message, span)
    else:
        message = f"'{entrypoint.text}' cannot be imported: {what}"
        help_ = "the line named is the last one of your own code before the error"
        report.add("DC408", message, span, help=help_ if place else None)


def _listed(known: Sequence[str]) -> str | None:
    return "it has " + ", ".join(f"'{name}'" for name in known) if known else None
