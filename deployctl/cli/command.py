"""One running command: what it found, how it is told, and with which exit code it ends."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.cli.console import OutputError, ProgressReporter, write
from deployctl.cli.exit import Exit
from deployctl.cli.render import Format, Outcome
from deployctl.core.diagnostics import Diagnostic, Report, Severity
from deployctl.core.errors import DeployctlError, Interrupted
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.deploy.model import Key, Plan, Result, ResultStatus

if TYPE_CHECKING:
    from rich.text import Text


@dataclass(slots=True)
class CommandContext:
    """What a command has come to so far."""

    command: str
    format: Format
    strict: bool
    narrator: ProgressReporter
    report: Report = field(default_factory=Report)
    sources: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    results: list[Result] = field(default_factory=list)
    target: str = ""
    subject: str = ""
    error: DeployctlError | None = None
    data: dict[str, Json] = field(default_factory=dict)
    """What the command was asked for, as keys of the JSON object."""
    shown: set[tuple[str, Key, ResultStatus]] = field(default_factory=set)
    """The results that a person has seen already."""

    @property
    def hopeless(self) -> bool:
        """Whether what was found forbids to go on."""
        return bool(self.report.errors or (self.strict and self.report.warnings))

    def tell(self, result: Result) -> None:
        """Shows a person a result as it comes."""
        if self.format is Format.HUMAN:
            from deployctl.cli.render import human

            self.shown.add(result.identity)
            self.narrator.write(human.result(result))

    def say(self, lines: Iterable[Text | str]) -> None:
        """Prints lines as they come; in JSON there is one object, at the end."""
        if self.format is not Format.JSON:
            self.narrator.write(lines)

    def exit_code(self) -> int:
        """What the command has come to as an exit code."""
        if self.error is not None:
            return self.error.exit_code
        failed = any(result.status is ResultStatus.FAILED for result in self.results)
        return 1 if failed or self.hopeless else 0

    def outcome(self) -> Outcome:
        """All of it, for a renderer."""
        found = list(self.report)
        if self.error is not None:
            error = self.error
            found.append(
                Diagnostic(error.code, Severity.ERROR, error.message, error.span, error.help)
            )
        return Outcome(
            self.command,
            tuple(found),
            self.sources,
            self.plan,
            tuple(self.results),
            self.target,
            self.subject,
            isinstance(self.error, Interrupted),
            frozenset(self.shown),
            self.data,
        )


def internal_error(error: Exception) -> DeployctlError:
    """What a user is told of an error that nobody foresaw."""
    return DeployctlError(
        f"{type(error).__name__}: {error}",
        help="this is a defect of deployctl; run it again with --traceback and report that",
    )


@contextmanager
def run_command(
    command: str, output: Format, *, strict: bool = False, show_traceback: bool = False
) -> Iterator[CommandContext]:
    """Runs the block, tells what came of it, and ends the process with the exit code that fits.

    A block that wants another exit code raises `Exit`; what it found is told all the same.
    """
    narrator = ProgressReporter(quiet=output is not Format.HUMAN)
    now = CommandContext(command, output, strict, narrator)
    code = None
    try:
        yield now
    except Exit as ended:
        code = ended.code
    except OutputError:
        raise
    except Exception as error:
        if show_traceback:
            write([redact(traceback.format_exc())], stderr=True)
        now.error = error if isinstance(error, DeployctlError) else internal_error(error)
    finally:
        narrator.close()
    _TELL[output](now.outcome())
    raise Exit(now.exit_code() if code is None else code)


def _tell_human(outcome: Outcome) -> None:
    from deployctl.cli.render import human

    write(human.diagnostics(outcome.diagnostics, outcome.sources), stderr=True)
    if outcome.results:
        write(human.results(outcome))


def _tell_json(outcome: Outcome) -> None:
    from deployctl.cli.render import json

    write([json.render(outcome)])


def _tell_github(outcome: Outcome) -> None:
    from deployctl.cli.render import github, human

    if outcome.plan is not None:
        write(human.plan(outcome))
    if outcome.results:
        write(human.results(outcome))
    write(github.annotations(outcome))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(github.summary(outcome))
        except OSError as error:
            write([f"the job summary cannot be written: {error.strerror}"], stderr=True)


_TELL = {Format.HUMAN: _tell_human, Format.JSON: _tell_json, Format.GITHUB: _tell_github}
