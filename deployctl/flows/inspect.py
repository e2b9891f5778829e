"""Reads what the code says about each entrypoint, and reports what prevents it.

The text of a module is enough for most flows. The others come from the cache, or are imported
together in a child process, whose interpreter is searched only if some flow needs it. What remains
unknown does not stop a deploy: those parameters get an open schema, and a warning names them. Only
the name of a flow must be known, from the code or from `flow_name` in the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deployctl.core.diagnostics import Report, Span
from deployctl.flows import problems
from deployctl.flows.cache import FlowCache, cache_folder
from deployctl.flows.entrypoint import LocatedEntrypoint, SearchPath, locate, parse_entrypoint
from deployctl.flows.importer import (
    Interpreter,
    LoadResult,
    Task,
    find_interpreter,
    find_newer_interpreter,
    has_newer_prefect,
    load_flows,
)
from deployctl.flows.metadata import OPEN_SCHEMA, FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.problems import PendingEntrypoint
from deployctl.flows.project_modules import ProjectModules
from deployctl.flows.static import (
    FlowNotFound,
    Module,
    NotAFlow,
    file_version,
    read_flow,
    read_flow_in_part,
)

LOAD_TIMEOUT = 60.0
"""Seconds for importing all flows of one command."""


def inspect_flows(
    entrypoints: Mapping[str, Span | None],
    folder: Path,
    report: Report,
    *,
    flow_names: Mapping[str, str] | None = None,
    imports: bool = True,
) -> dict[str, FlowMetadata]:
    """Returns the metadata of each entrypoint that can be read; `report` gets the other ones.

    `folder` is the folder of prefect.yaml; the working directory is searched first. `flow_names`
    has names, by entrypoint, that hold where the code does not give one. Without `imports`, no user
    code runs: parameters may be unknown then, which is not reported.
    """
    folder = folder.resolve()
    reader = _StaticReader(SearchPath.of(Path.cwd(), folder), report)
    for text, span in entrypoints.items():
        reader.read(text, span)
    if imports and reader.metadata and has_newer_prefect(folder, os.environ):
        reader.postpone_all()
    if reader.pending:
        _Importer(reader, folder, flow_names or {}, imports).run()
    return {text: reader.metadata[text] for text in entrypoints if text in reader.metadata}


class _StaticReader:
    """Reads flows from the text of their modules; each file is parsed once."""

    def __init__(self, search_path: SearchPath, report: Report) -> None:
        self.metadata: dict[str, FlowMetadata] = {}
        self.pending: list[PendingEntrypoint] = []
        self.report = report
        self.search_path = search_path
        self._located: dict[str, tuple[LocatedEntrypoint, Span | None]] = {}
        self._modules: dict[Path, Module | SyntaxError] = {}

    def read(self, text: str, span: Span | None) -> None:
        """Adds the metadata of an entrypoint, adds it to `pending`, or reports what is wrong."""
        try:
            entrypoint = parse_entrypoint(text)
        except ValueError as error:
            problems.report_not_an_entrypoint(text, error, span, self.report)
            return
        if entrypoint.is_absolute:
            problems.report_absolute_path(entrypoint, span, self.report)
        located = locate(entrypoint, self.search_path.bases)
        if located is not None:
            self._located[text] = located, span
            self._read(located, span)
        elif entrypoint.is_script:
            problems.report_no_file(entrypoint, self.search_path.bases, span, self.report)
        else:
            reason = f"the module '{entrypoint.location}' is not among the project's files"
            elsewhere = LocatedEntrypoint(entrypoint, self.search_path.bases[-1], None)
            self.pending.append(PendingEntrypoint(elsewhere, reason, span, None))

    def postpone_all(self) -> None:
        """Makes everything that was read pending: a newer Prefect has to confirm it."""
        for text, metadata in self.metadata.items():
            located, span = self._located[text]
            reason = "the project's Prefect is newer than this deployctl knows"
            self.pending.append(PendingEntrypoint(located, reason, span, metadata))
        self.metadata.clear()

    def _read(self, located: LocatedEntrypoint, span: Span | None) -> None:
        entrypoint = located.entrypoint
        assert located.file is not None
        try:
            module = self._module(located.file)
            if module.error is not None:
                partial = _read_in_part(module, entrypoint.object)
                self._postpone_invalid(located, module.error, span, partial)
                return
            self.metadata[entrypoint.text] = read_flow(module, entrypoint.object)
        except FlowNotFound as error:
            problems.report_no_object(entrypoint, error.known, span, self.report)
        except NotAFlow:
            problems.report_not_a_flow(entrypoint, span, self.report)
        except NotStatic as error:
            partial = _read_in_part(module, entrypoint.object)
            self.pending.append(PendingEntrypoint(located, str(error), span, partial))
        except SyntaxError as error:
            self._postpone_invalid(located, error, span, None)
        except (OSError, ValueError) as error:
            problems.report_unreadable(entrypoint, error, span, self.report)

    def _postpone_invalid(
        self,
        located: LocatedEntrypoint,
        error: SyntaxError,
        span: Span | None,
        partial: FlowMetadata | None,
    ) -> None:
        reason = f"{Path(located.entrypoint.location).name}:{error.lineno}: {error.msg}"
        self.pending.append(PendingEntrypoint(located, reason, span, partial, is_invalid=True))

    def _module(self, file: Path) -> Module:
        if file not in self._modules:
            try:
                # Not shared: the folder of the script comes first in the search.
                modules = ProjectModules(self.search_path.module_folders, os.environ)
                self._modules[file] = Module(file, modules)
            except SyntaxError as error:
                self._modules[file] = error
        if isinstance(module := self._modules[file], SyntaxError):
            raise module
        return module


def _read_in_part(module: Module, path: str) -> FlowMetadata | None:
    try:
        return read_flow_in_part(module, path)
    except (NotStatic, NotAFlow, FlowNotFound):
        return None


def _is_invalid(result: LoadResult | None) -> bool:
    return result is not None and result.failure is not None and result.failure.is_syntax_error


class _Importer:
    """Settles the pending entrypoints: from the cache, by an import, or with open schemas."""

    def __init__(
        self, reader: _StaticReader, folder: Path, flow_names: Mapping[str, str], imports: bool
    ) -> None:
        self._reader = reader
        self._folder = folder
        self._flow_names = flow_names
        self._imports = imports

    def run(self) -> None:
        """Gives each pending entrypoint its metadata, or reports why it has none."""
        interpreter = find_interpreter(self._folder, os.environ)
        pending = self._reader.pending
        results = self._load(pending, interpreter) if interpreter else {}
        is_real = interpreter is not None and interpreter.prefect is not None
        invalid = [item for item in pending if _is_invalid(results.get(item.entrypoint.text))]
        if invalid and self._imports:
            newer = find_newer_interpreter(self._folder, os.environ)
            results |= self._load(invalid, newer) if newer else {}
        for item in pending:
            self._settle(item, results.get(item.entrypoint.text), is_real)

    def _load(
        self, pending: Sequence[PendingEntrypoint], interpreter: Interpreter
    ) -> dict[str, LoadResult]:
        """Loads flows by an interpreter, except those that the cache has."""
        cache = FlowCache(cache_folder(os.environ), interpreter)
        results: dict[str, LoadResult] = {}
        tasks = []
        for item in pending:
            cached = cache.get(item.entrypoint.text, item.located.base)
            if cached is not None:
                results[item.entrypoint.text] = LoadResult(cached, None)
            else:
                tasks.append(self._task(item))
        if self._imports and tasks:
            for task, result in load_flows(interpreter, tasks, LOAD_TIMEOUT).items():
                cache.put(task.entrypoint, task.base, result)
                results[task.entrypoint] = result
        return results

    def _task(self, item: PendingEntrypoint) -> Task:
        path = self._reader.search_path.module_folders
        return Task(item.entrypoint.text, item.located.base, path)

    def _settle(self, item: PendingEntrypoint, result: LoadResult | None, is_real: bool) -> None:
        """Uses the result of an import. `is_real`: whether Prefect itself imported the flow."""
        report = self._reader.report
        if result is None:
            self._use_partial(item, item.reason)
        elif result.metadata is not None:
            self._add(item, result.metadata)
            if result.metadata.unknown:
                problems.report_open_schema(item, result.metadata, item.reason, report)
            elif result.failure is not None:
                problems.report_partly_loaded(item, result.failure, report)
        elif result.failure is not None:
            is_newer = item.is_invalid and item.partial and _is_invalid(result)
            if is_newer or result.failure.may_be_ours(is_real):
                self._use_partial(item, problems.cause(result.failure))
            else:
                problems.report_failure(item, result.failure, report)

    def _use_partial(self, item: PendingEntrypoint, reason: str) -> None:
        """Takes what the text gives, or the name from the file with an entirely open schema."""
        metadata = item.partial
        name = self._flow_names.get(item.entrypoint.text)
        if metadata is None and name:
            metadata = FlowMetadata(name, None, None, OPEN_SCHEMA)
        if metadata is not None:
            self._add(item, metadata)
            if self._imports:
                problems.report_open_schema(item, metadata, reason, self._reader.report)
        else:
            problems.report_unknown_name(item, reason, self._reader.report)

    def _add(self, item: PendingEntrypoint, metadata: FlowMetadata) -> None:
        if metadata.version is None and item.located.file is not None:
            # Put together from parts of the file; where it can be imported, this is the version.
            with suppress(OSError):
                metadata = replace(metadata, version=file_version(item.located.file))
        self._reader.metadata[item.entrypoint.text] = metadata
