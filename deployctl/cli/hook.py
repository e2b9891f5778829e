"""`deploy` as a hook of a pod: with a time limit, and errors that do not keep a container down."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployctl.app.deploying.deploy import DEPLOYING
from deployctl.cli.container import copy_output_to_log, write_termination_message
from deployctl.cli.exit import DONE, FAILED
from deployctl.cli.project_options import HookOptions, OnError
from deployctl.cli.time_limit import GRACE, TimeExpired, TimeLimit
from deployctl.core.errors import Interrupted, TimedOut

if TYPE_CHECKING:
    from deployctl.cli.context import CommandContext

_HELP = "Run the same command again: it continues with what is missing. Or set a longer --timeout."


@contextmanager
def as_hook(ctx: CommandContext, options: HookOptions) -> Iterator[None]:
    """Runs the block as the options say. Raises TimedOut at the end of the time."""
    ctx.is_hook = True
    ctx.tolerates_errors = options.on_error is OnError.WARN
    if options.container_log:
        copy_output_to_log(os.environ)
    if options.timeout is None:
        yield
        return

    def expired(end: str) -> str:
        """The message of the time limit."""
        during = ctx.progress.current_phase or "loading the project"
        return f"not finished within {options.timeout:g} s, while {during}; {end}"

    def report() -> None:
        """Reports a clean stop that did not end."""
        is_writing = ctx.progress.current_phase == DEPLOYING
        done = "it may be deployed in part" if is_writing else ctx.not_deployed()
        message = expired(f"{done}, and the clean stop did not end within {GRACE:g} s")
        lines = [f"error[{TimedOut.code}]: {message}", f"help: {_HELP}"]
        write_termination_message(lines, os.environ)
        print(*lines, sep="\n", file=sys.stderr, flush=True)

    code = DONE if ctx.tolerates_errors else FAILED
    stopped: BaseException | None = None
    limit = TimeLimit(options.timeout, report, code)
    try:
        with limit:
            yield
    except (TimeExpired, Interrupted) as error:
        if not limit.is_expired:
            raise
        stopped = error
    if limit.is_expired:
        raise TimedOut(expired(ctx.not_deployed()), help=_HELP) from stopped
