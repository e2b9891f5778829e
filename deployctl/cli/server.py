"""Session with the Prefect server, opened from the options of a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from deployctl.api.session import Session
from deployctl.api.settings import Settings, load_settings
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, ServerOptions
from deployctl.cli.signals import stop_on_signals
from deployctl.core.cancellation import CancellationToken


def signals(ctx: CommandContext) -> AbstractContextManager[CancellationToken]:
    """A cancellation token that signals set; the first one is shown as progress output."""
    return stop_on_signals(lambda text: ctx.progress.output("deployctl", text))


def settings_of(ctx: CommandContext, options: ServerOptions) -> Settings:
    """The settings of the server that the options name, else the environment, else the machine.

    Raises SettingsError.
    """
    api_url, profile = options.api_url, options.profile
    if ctx.environment and not (api_url or profile):
        api_url, profile = ctx.environment.api_url, ctx.environment.profile
    return load_settings(os.environ, Path.cwd(), flags={"api_url": api_url}, profile=profile)


@contextmanager
def connect(
    ctx: CommandContext, options: ConnectionOptions, stop: CancellationToken | None = None
) -> Iterator[Session]:
    """An open session, after waiting for the server if `--wait-for-api` asks for it.

    `stop`: a token that signals set already; without it, signals are handled here.
    """
    settings = settings_of(ctx, options)
    with (
        nullcontext(stop) if stop else signals(ctx) as token,
        Session(
            settings, concurrency=options.concurrency, progress=ctx.progress, cancellation=token
        ) as session,
    ):
        if options.wait_for_api is not None:
            session.wait_for_api(options.wait_for_api)
        ctx.target = settings.display_url
        yield session
