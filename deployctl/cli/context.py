"""The context of a running command: what it found and did, how to show it, and the exit code."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from deployctl.cli.console import OutputError, ProgressReporter, write
from deployctl.cli.exit import DONE, FAILED, Exit
from deployctl.cli.options import OutputFormat, OutputOptions
from deployctl.cli.output import print_report
from deployctl.core.diagnostics import Diagnostic, Report, Severity
from deployctl.core.errors import DeployctlError, Interrupted, TimedOut
from deployctl.core.redact import redact
from deployctl.core.suggest import shortened

if TYPE_CHECKING:
    from rich.text import Text

    from deployctl.cli.render import CommandReport
    from deployctl.core.json_values import Json
    from deployctl.deploy.model import Key, Plan, Result, ResultStatus
    from deployctl.project.document import Environment

_MAX_NAMES = 10
"""Names in a message."""


@dataclass(slots=True)
class CommandContext:
    """State of one running command."""

    command: str
    format: OutputFormat
    strict: bool
    progress: ProgressReporter
    report: Report = field(default_factory=Report)
    sources: dict[str, str] = field(default_factory=dict)
    """File name → text, for the source lines under diagnostics."""
    plan: Plan | None = None
    results: list[Result] = field(default_factory=list)
    target: str = ""
    """The server: `http://… (Prefect 3.8.8)`."""
    subject: str = ""
    """What the command works on: `12 deployments in prefect.yaml`."""
    environment: Environment | None = None
    """The environment of the project files, if one was named."""
    error: DeployctlError | None = None
    data: dict[str, Json] = field(default_factory=dict)
    """Further keys of the JSON object."""
    full: bool = False
    """Whether long lists are shown whole."""
    is_hook: bool = False
    """Whether the reason of a failure becomes the termination message of the container."""
    tolerates_errors: bool = False
    """Whether errors become warnings at the end."""
    shown: set[tuple[str, Key, ResultStatus]] = field(default_factory=set)
    """Identities of the results that were printed already."""
    printed: set[Diagnostic] = field(default_factory=set)
    """Diagnostics that were printed already."""

    @property
    def blocked(self) -> bool:
        """Whether the diagnostics so far forbid to continue: errors, or warnings if strict."""
        return bool(self.report.blocking or (self.strict and self.report.blocking_warnings))

    def show_result(self, result: Result) -> None:
        """Prints one result as soon as it is known; only in the human format.

        What was skipped is counted at the end.
        """
        from deployctl.deploy.model import ResultStatus

        if self.format is OutputFormat.HUMAN and result.status is not ResultStatus.SKIPPED:
            from deployctl.cli.render import human

            self.shown.add(result.identity)
            self.progress.write(human.result(result))

    def print(self, lines: Iterable[Text | str]) -> None:
        """Prints lines at once. Does nothing in formats of one document, printed at the end."""
        if self.format in (OutputFormat.HUMAN, OutputFormat.GITHUB):
            self.progress.write(lines)

    def print_diagnostics(self) -> None:
        """Prints the diagnostics so far, for a command that goes on for long; only for people."""
        if self.format is OutputFormat.HUMAN:
            from deployctl.cli.render import human

            items = tuple(each for each in self.report.distinct() if each not in self.printed)
            self.progress.write(human.diagnostics(items, self.sources), stderr=True)
            self.printed.update(items)
            self.report.items.clear()

    def exit_code(self) -> int:
        """The exit code for what happened so far."""
        if self.error is not None:
            return self.error.exit_code
        if self.report.errors or (self.strict and self.report.warnings):
            return FAILED
        if self.results:
            from deployctl.deploy.model import ResultStatus

            if any(result.status is ResultStatus.FAILED for result in self.results):
                return FAILED
        return DONE

    def not_deployed(self) -> str:
        """What the plan of a deploy says and was not written, for a message."""
        if not self.results:
            return "nothing was deployed"
        written = {each.identity[:2] for each in self.results if each.is_written}
        needed = self.plan.needed if self.plan else ()
        left = [
            f"{each.kind.replace('_', ' ')} '{each.name}'"
            for each in needed
            if (each.kind, each.key) not in written
        ]
        if not left:
            return "not everything was deployed"
        return f"not deployed: {shortened(left, _MAX_NAMES)}"

    def failures(self) -> list[str]:
        """Why the command failed: a line for each error and each change that failed."""
        severities = (Severity.ERROR, Severity.WARNING) if self.strict else (Severity.ERROR,)
        lines = [
            f"{each.severity}[{each.code}]: {each.message}" + f" ({each.span})" * bool(each.span)
            for each in self.summarize().diagnostics
            if each.severity in severities
        ]
        return lines + [
            f"{each.change.kind.replace('_', ' ')} '{each.change.name}': {each.error.message}"
            for each in self.results
            if each.error is not None
        ]

    def tolerate(self) -> None:
        """Makes warnings of all errors, and adds one that says what was not deployed (DC529)."""
        items = self.summarize().diagnostics
        self.error = None
        self.report.items = [
            replace(each, severity=Severity.WARNING) if each.severity is Severity.ERROR else each
            for each in items
        ]
        self.report.add(
            "DC529",
            f"the deploy failed, and the command succeeds all the same: {self.not_deployed()}",
            help="The errors are the warnings above. Without --on-error warn, they fail.",
        )

    def summarize(self) -> CommandReport:
        """Everything that a renderer needs."""
        from deployctl.cli.render import CommandReport

        diagnostics = [each for each in self.report.distinct() if each not in self.printed]
        if self.error is not None:
            error = self.error
            diagnostics.append(
                Diagnostic(error.code, Severity.ERROR, error.message, error.span, error.help)
            )
        return CommandReport(
            self.command,
            tuple(diagnostics),
            self.sources,
            self.plan,
            tuple(self.results),
            self.target,
            self.subject,
            isinstance(self.error, Interrupted | TimedOut),
            frozenset(self.shown),
            self.data,
            self.strict,
            self.full,
        )


def internal_error(error: Exception) -> DeployctlError:
    """The error shown for an exception that is a defect of deployctl."""
    return DeployctlError(
        f"{type(error).__name__}: {error}",
        help="This is a defect of deployctl. Run the command again with --traceback and report it.",
    )


@contextmanager
def command_context(command: str, options: OutputOptions) -> Iterator[CommandContext]:
    """Runs the block as the command `command`, prints its report, and raises `Exit`.

    The block may raise `Exit` to choose another exit code; its report is printed all the same.
    """
    progress = ProgressReporter(quiet=options.output is not OutputFormat.HUMAN)
    ctx = CommandContext(command, options.output, options.strict, progress)
    code = None
    try:
        yield ctx
    except Exit as exit_:
        code = exit_.code
    except OutputError:
        raise
    except Exception as error:
        if options.traceback:
            write([redact(traceback.format_exc())], stderr=True)
        ctx.error = error if isinstance(error, DeployctlError) else internal_error(error)
    finally:
        progress.close()
    code = ctx.exit_code() if code is None else code
    failures = ctx.failures() if ctx.is_hook and code != DONE else []
    if code != DONE and ctx.tolerates_errors and not isinstance(ctx.error, Interrupted):
        ctx.tolerate()
        code = DONE
    print_report(options.output, ctx.summarize())
    if failures:
        from deployctl.cli.container import write_termination_message

        write_termination_message(failures, os.environ)
    raise Exit(code)
