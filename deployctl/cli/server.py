"""From options to a session with the server: what every command that asks one begins with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from deployctl.api.session import Session
from deployctl.api.settings import load_settings
from deployctl.cli.command import CommandContext, run_command
from deployctl.cli.options import ConnectionOptions, OutputOptions
from deployctl.cli.signals import stopping
from deployctl.core.cancellation import CancellationToken


def signals(now: CommandContext) -> AbstractContextManager[CancellationToken]:
    """A stop flag that signals set, and say so."""
    return stopping(lambda text: now.narrator.output("deployctl", text))


@contextmanager
def session(
    now: CommandContext, connecting: ConnectionOptions, heard: CancellationToken | None = None
) -> Iterator[tuple[Session, CancellationToken]]:
    """An open session; waits for the server if that was asked for.

    `heard`: what signals set already; without it they are listened to here.
    """
    settings = load_settings(
        os.environ,
        Path.cwd(),
        flags={"api_url": connecting.api_url},
        profile=connecting.profile,
    )
    with (
        nullcontext(heard) if heard else signals(now) as stop,
        Session(
            settings, concurrency=connecting.concurrency, progress=now.narrator, cancellation=stop
        ) as opened,
    ):
        if connecting.wait_for_api is not None:
            opened.wait_for_api(connecting.wait_for_api)
        now.target = settings.display_url
        yield opened, stop


@contextmanager
def asking(
    command: str, connecting: ConnectionOptions, telling: OutputOptions
) -> Iterator[tuple[CommandContext, Session]]:
    """A command that needs nothing but the server; ends the process as `running` does."""
    with (
        run_command(
            command, telling.output, strict=telling.strict, show_traceback=telling.traceback
        ) as now,
        session(now, connecting) as (opened, _),
    ):
        yield now, opened
