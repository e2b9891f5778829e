"""`deployctl metrics`: gauges of a whole Prefect server for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from deployctl.cli.command import command
from deployctl.cli.context import CommandContext
from deployctl.cli.options import ConnectionOptions, option

if TYPE_CHECKING:
    from deployctl.api.session import Session
    from deployctl.app.operating.server_metrics import ServerSample
    from deployctl.core.cancellation import CancellationToken
    from deployctl.core.errors import DeployctlError

_METRICS = "Metrics"
_MAX_REQUEST_SECONDS = 4.0
"""Prometheus gives up a scrape after 10 s; the answer is to say before that that the server fails.
"""


@command(
    "metrics",
    ("Serve the gauges on port 8000", "deployctl metrics"),
    ("Print them once", "deployctl metrics --once"),
    output_options=False,
)
def metrics(
    ctx: CommandContext,
    server: ConnectionOptions,
    port: Annotated[
        int, option("--port PORT", _METRICS, "Port to serve /metrics on.", min=0, max=65535)
    ] = 8000,
    address: Annotated[
        str, option("--address ADDRESS", _METRICS, "Address to serve /metrics on.")
    ] = "0.0.0.0",
    interval: Annotated[
        float,
        option("--interval SECONDS", _METRICS, "Read the server at most once per SECONDS.", min=0),
    ] = 30.0,
    once: Annotated[bool, option("--once", _METRICS, "Print the gauges and exit.")] = False,
) -> None:
    """Show deployments, flow runs by state, work pools and queues of a server to Prometheus.

    Metrics have the names and labels of prometheus-prefect-exporter. While the server fails, only
    deployctl_server_up is served, with the value 0.
    """
    from deployctl.cli.server import connect, signals

    with signals(ctx) as stop, connect(ctx, server, stop) as session:
        if once:
            from deployctl.app.operating.server_metrics import ServerGauges

            sample = _read(session)
            text = ServerGauges(lambda: sample, interval).text().decode()
            ctx.print(text.rstrip("\n").split("\n"))
        else:
            _serve(ctx, session, stop, address, port, interval)


def _serve(
    ctx: CommandContext,
    session: Session,
    stop: CancellationToken,
    address: str,
    port: int,
    interval: float,
) -> None:
    """Serves until a signal. Raises NoPort."""
    from dataclasses import replace

    from deployctl.api.session import Session
    from deployctl.app.operating.server_metrics import ServerGauges
    from deployctl.cli.event_log import LogFormat, open_event_log
    from deployctl.worker.health.http_server import PageServer, metrics_page

    def report(error: DeployctlError | None) -> None:
        """Says once that the server fails, and once that it works again."""
        text = error.message if error else f"{session.settings.display_url} answers again"
        if not stop.is_cancelled:
            ctx.progress.output("metrics", text)

    seconds = min(session.settings.request_timeout, _MAX_REQUEST_SECONDS)
    settings = replace(session.settings, request_timeout=seconds, max_retries=1)
    with Session(settings, cancellation=stop) as own:
        gauges = ServerGauges(lambda: _read(own), interval, report)
        pages = {
            "/metrics": lambda: metrics_page(gauges.text()),
            "/health": lambda: (200, "text/plain", b"OK\n"),
        }
        help_ = "Choose another with --address and --port."
        with PageServer(address, port, pages, open_event_log(LogFormat.AUTO), help_) as serving:
            ctx.progress.output("metrics", f"serving http://{address}:{serving.port}/metrics")
            while not stop.wait(60.0):
                pass


def _read(session: Session) -> ServerSample:
    """Reads a sample. Raises ApiError."""
    from datetime import UTC, datetime

    from deployctl.api.driver import run
    from deployctl.app.operating.server_metrics import read_sample

    return run(read_sample(datetime.fromtimestamp(session.server_clock(), UTC)), session)
