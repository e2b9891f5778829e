"""A Prefect server for one project on this machine, run by the project's `prefect` on SQLite.

Its data stays in a folder of its own between starts, apart from the user's other Prefect. The
server stops with the command that started it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deployctl.api.session import Session
from deployctl.api.settings import Settings
from deployctl.clients import process, supervised
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError, Interrupted, ProgramError, Unreachable

HOST = "127.0.0.1"
_KEPT_LINES = 20
"""Lines of the server's output that an error shows."""
_START_TIMEOUT = 180.0
"""Seconds. The first start creates the database, which takes a minute on a small machine."""
_PROBE_TIMEOUT = 1.0
"""Seconds."""


class LocalServerError(DeployctlError):
    """No `prefect` is installed to start a server with, or the server did not start."""

    code = "DC690"


def prefect_program(python: str, environ: Mapping[str, str]) -> str:
    """The `prefect` beside the project's interpreter, else on PATH. Raises LocalServerError."""
    found = supervised.find_program("prefect", beside=Path(python), path=environ.get("PATH"))
    if found is None:
        raise LocalServerError(
            "found no 'prefect' program to start a server with",
            help="Install Prefect into the project's environment (pip install prefect) and "
            "activate the environment.",
        )
    return found


@contextmanager
def local_server(
    program: str, port: int, home: Path, environ: Mapping[str, str], stop: CancellationToken
) -> Iterator[str]:
    """The API URL of a server that runs during the block, with its data in `home`.

    Raises LocalServerError; Interrupted if `stop` is set before the server answers.
    """
    if _is_taken(port):
        raise LocalServerError(
            f"port {port} is in use, perhaps by another Prefect server",
            help="Choose another port with --port. To use a running server, run "
            "`deployctl deploy` and `deployctl worker`.",
        )
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}/api"
    stop_server, exited = CancellationToken(), CancellationToken()
    output: deque[str] = deque(maxlen=_KEPT_LINES)

    def serve() -> None:
        """Runs the server until it exits or `stop_server` is set."""
        try:
            process.run(
                [program, "server", "start", "--host", HOST, "--port", str(port)],
                cwd=home,
                env=server_environment(environ, home),
                timeout=None,
                on_line=lambda _stream, line: output.append(line),
                cancellation=stop_server,
            )
        except (Interrupted, ProgramError) as error:
            output.append(error.message)
        exited.cancel()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        if not _is_up(url, exited, stop):
            raise LocalServerError(
                "the Prefect server did not start; its last output:\n" + "\n".join(output),
                help=f"If port {port} is in use, choose another with --port.",
            )
        yield url
    finally:
        stop_server.cancel()
        thread.join()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        return probe.connect_ex((HOST, port)) == 0


def _is_up(url: str, exited: CancellationToken, stop: CancellationToken) -> bool:
    """Waits for the server to answer; False if it exits before, or at the timeout."""
    deadline = time.monotonic() + _START_TIMEOUT
    with Session(Settings(api_url=url), cancellation=stop) as probe:
        while not exited.is_cancelled and time.monotonic() < deadline:
            try:
                probe.wait_for_api(_PROBE_TIMEOUT)
            except Unreachable:
                continue
            return not exited.is_cancelled
    return False


def server_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment without settings of Prefect, and with the server's data in `home`."""
    own = {name: text for name, text in environ.items() if not name.startswith("PREFECT_")}
    return own | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
