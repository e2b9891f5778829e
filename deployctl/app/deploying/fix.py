"""Fixes a file: applies what the help of its diagnostics says, where that is unambiguous."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.core.diagnostics import Diagnostic, Report
from deployctl.core.errors import DeployctlError
from deployctl.project.document import Document, parse_document
from deployctl.project.fixes import fix_text
from deployctl.project.parse import parse_project, report_entries
from deployctl.steps.checks import check_steps
from deployctl.steps.model import parse_steps


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
        before, after = (text.splitlines() for text in (self.before, self.after))
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


def fix_file(path: Path, environ: Mapping[str, str]) -> FixedFile | None:
    """The file with all of its fixes, not written yet; None if it cannot be read."""
    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    after, fixed = fix_text(text, lambda changed: _check(changed, path, environ))
    return FixedFile(path, text, after, tuple(fixed))


def _check(
    text: str, path: Path, environ: Mapping[str, str]
) -> tuple[Document | None, Sequence[Diagnostic]]:
    """The checks whose findings have fixes; none of them needs the code of the flows."""
    report = Report()
    document = parse_document(text, str(path), report)
    if document is not None:
        report_entries(parse_project(document, report, environ).deployments, report)
        entries = document.data.get("deployments")
        lists = {(): document.data} | {
            ("deployments", index): entry
            for index, entry in enumerate(entries if isinstance(entries, list) else ())
            if isinstance(entry, dict)
        }
        for below, mapping in lists.items():
            for kind in ("build", "push", "pull"):
                steps, _ = parse_steps(mapping.get(kind), (*below, kind))
                document.report_problems(check_steps(steps), report)
    return document, report.items
