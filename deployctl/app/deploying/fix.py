"""Fixes a file: applies what the help of its diagnostics says, where that is unambiguous."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.app.deploying.load import LoadOptions, load_document
from deployctl.core.diagnostics import Diagnostic, Report
from deployctl.core.errors import DeployctlError, UsageError
from deployctl.project.document import Document, parse_document
from deployctl.project.environments import without_environment
from deployctl.project.fixes import apply_fixes, fix_text
from deployctl.project.selection import Selection


@dataclass(frozen=True, slots=True)
class FixedFile:
    """A file before and after its fixes."""

    path: Path
    before: str
    after: str
    fixed: tuple[Diagnostic, ...]
    """What it no longer has, in the order of the fixes."""

    def diff(self) -> list[str]:
        """The lines of a unified diff; none if nothing was fixed."""
        name = str(self.path)
        before, after = _lines(self.before), _lines(self.after)
        return list(difflib.unified_diff(before, after, name, name, lineterm=""))

    def write(self) -> None:
        """Replaces the file, whose permissions stay. Raises DeployctlError if that fails."""
        target = self.path.resolve()
        try:
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
                file.write(self.after.encode())
            os.chmod(file.name, target.stat().st_mode & 0o7777)  # noqa: PTH101
            Path(file.name).replace(target)
        except OSError as error:
            raise DeployctlError(f"cannot write '{self.path}': {error.strerror}") from error


def _lines(text: str) -> list[str]:
    """The lines of a text as a diff shows them: the last one says if it has no line break."""
    *lines, last = text.split("\n")
    return [*lines, f"{last}\n\\ No newline at end of file"] if last else lines


def fix_file(path: Path, environ: Mapping[str, str]) -> FixedFile | None:
    """The file with all of its fixes, not written yet; None if it cannot be read."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    after, fixed = fix_text(text, lambda changed: _check(changed, path, environ))
    return FixedFile(path, text, after, tuple(fixed))


def without_impossible_fixes(text: str, path: Path, report: Report) -> None:
    """Removes those fixes of a report that the layout of the file, or an anchor, does not allow."""
    fixes = {each: each.fix for each in report if each.fix and _is_in(each, path)}
    document = parse_document(text, str(path), Report()) if fixes else None
    if document is not None:
        _, applied = apply_fixes(document, [fix for fix in fixes.values() if fix])
        report.items = [
            replace(each, fix=None) if each in fixes and each.fix not in applied else each
            for each in report
        ]


def _is_in(item: Diagnostic, path: Path) -> bool:
    return item.span is not None and item.span.file == str(path)


def _check(
    text: str, path: Path, environ: Mapping[str, str]
) -> tuple[Document | None, Sequence[Diagnostic]]:
    """What `validate` finds in a file with this text."""
    report = Report()
    document = parse_document(text, str(path), report)
    if document is not None and without_environment(document, report):
        options = LoadOptions(Selection(everything=True), offline=True)
        with suppress(UsageError):  # a file without deployments
            project = load_document(document, options, report, environ)
            if project is not None:
                project.check_parameters(report)
    return document, report.items
