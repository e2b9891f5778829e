"""A Prefect server of a project's own on this machine, by the project's `prefect` and on SQLite.

Its data stays in a folder of its own between starts, beside nothing that belongs to the user's
other Prefect. It ends with the command that started it.
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
_START_SECONDS = 180.0
"""A first start makes the database, which takes a minute on a small machine."""
_LOOK_SECONDS = 1.0


class NoServer(DeployctlError):
    """There is no Prefect to start a server with, or it did not start."""

    code = "DC690"


def prefect_program(python: str, environ: Mapping[str, str]) -> str:
    """The `prefect` beside the project's interpreter, else on PATH. Raises NoServer."""
    found = supervised.find_program("prefect", beside=Path(python), path=environ.get("PATH"))
    if found is None:
        raise NoServer(
            "there is no 'prefect' to start a server with",
            help="Install Prefect into the project's environment (pip install prefect), and "
            "activate that.",
        )
    return found


@contextmanager
def local_server(
    program: str, port: int, home: Path, environ: Mapping[str, str], stop: CancellationToken
) -> Iterator[str]:
    """The API URL of a server that runs for the length of the block; its data is in `home`.

    Raises NoServer; Interrupted when `stop` is asked for before it is up.
    """
    if _is_taken(port):
        raise NoServer(
            f"port {port} is in use, perhaps by a Prefect server that is not this project's",
            help="Choose another with --port; a server that runs already is used with "
            "`deployctl deploy` and `deployctl worker`.",
        )
    home.mkdir(parents=True, exist_ok=True)
    url = f"http://{HOST}:{port}/api"
    ending, ended = CancellationToken(), CancellationToken()
    said: deque[str] = deque(maxlen=_KEPT_LINES)

    def serve() -> None:
        try:
            process.run(
                [program, "server", "start", "--host", HOST, "--port", str(port)],
                cwd=home,
                env=server_environment(environ, home),
                timeout=None,
                on_line=lambda _stream, line: said.append(line),
                cancellation=ending,
            )
        except (Interrupted, ProgramError) as error:
            said.append(error.message)
        ended.cancel()

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    try:
        if not _is_up(url, ended, stop):
            raise NoServer(
                "the Prefect server did not start; its last words:\n" + "\n".join(said),
                help=f"Is port {port} in use? Choose another with --port.",
            )
        yield url
    finally:
        ending.cancel()
        thread.join()


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_LOOK_SECONDS)
        return probe.connect_ex((HOST, port)) == 0


def _is_up(url: str, ended: CancellationToken, stop: CancellationToken) -> bool:
    """Waits until the server answers; gives whether it does before it ends or the time is over."""
    end = time.monotonic() + _START_SECONDS
    with Session(Settings(api_url=url), cancellation=stop) as probe:
        while not ended.is_cancelled and time.monotonic() < end:
            try:
                probe.wait_for_api(_LOOK_SECONDS)
            except Unreachable:
                continue
            return not ended.is_cancelled
    return False


def server_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Our environment without any setting of Prefect, and with the server's data in `home`."""
    own = {name: text for name, text in environ.items() if not name.startswith("PREFECT_")}
    return own | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
