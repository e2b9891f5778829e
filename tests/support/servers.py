"""Real Prefect servers, each on a free loopback port with its own home folder and database.

Two things are slow, and both are avoided where possible:

- Migrating an empty database and registering the built-in blocks takes 8 to 9 s. The finished
  database is kept beside the version's virtual environment and copied for each new server.
- Importing Prefect takes 2 s of CPU per start. A test that needs an empty server takes a running
  one and calls `reset`, which restores the rows of the template in some 20 ms while the server
  runs. Automations that the server has loaded into memory survive a reset; a test that waits for
  one to fire takes a new server instead.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.support.databases import Database, Postgres, Sqlite
from tests.support.die_with_parent import die_with_parent
from tests.support.environment import isolated
from tests.support.ports import held_port

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("DEPLOYCTL_TEST_CACHE") or ROOT / ".cache").resolve()
PREFECT_3 = "3.9.1"
PREFECT_2 = "2.20.27"
OTHER_VERSIONS = sorted(
    path.stem.removeprefix("prefect-")
    for path in (ROOT / "tests" / "servers" / "smoke").glob("prefect-*.txt")
)
"""Older minors, for smoke tests."""
START_SECONDS = 180.0


class NotStarted(Exception):
    """The server exited or did not answer in time; the message has the end of its log."""


def interpreter(version: str) -> Path:
    """Return the Python of the virtual environment in which make installs a version."""
    return CACHE / f"prefect-{version}" / "bin" / "python"


def is_installed(version: str) -> bool:
    """Return whether make has installed this version."""
    return (CACHE / f"prefect-{version}" / ".ready").exists()


def make_target(version: str) -> str:
    """Return the target of make that installs a version."""
    return "servers-all" if version in OTHER_VERSIONS else "servers"


class Server:
    """A Prefect server and its data. It does not run before `start`.

    Args:
        version: The version of Prefect, for instance `PREFECT_3`.
        csrf: Whether the server requires CSRF tokens.
        auth: Credentials that it requires, as "user:password"; 2.20 ignores the setting.
        scheduler: Whether it creates the runs of schedules.
        host: The address that it listens on.
        busy: Seconds that a write waits for the SQLite lock. With Prefect's default of 60, a write
            that blocks itself stops the server for a minute.
        tuned: Whether to reduce its CPU time (see `serve.py`). Benchmarks don't.
        database: `sqlite`, or `postgres` where `lacks_postgres()` is "".
        env: More environment variables.
    """

    def __init__(
        self,
        version: str,
        *,
        csrf: bool = False,
        auth: str | None = None,
        scheduler: bool = True,
        host: str = "127.0.0.1",
        busy: float = 2.0,
        tuned: bool = True,
        database: str = "sqlite",
        env: dict[str, str] | None = None,
    ) -> None:
        self.version = version
        self.python = interpreter(version)
        self.home = Path(tempfile.mkdtemp(prefix=f"prefect-{version}-"))
        self.database: Database = (
            Postgres(durable=not tuned) if database == "postgres" else Sqlite(self.home)
        )
        self.log = self.home / "server.log"
        self.host = host
        self._held = held_port(host)
        self.port: int = self._held.getsockname()[1]
        self.api_url = f"http://{host}:{self.port}/api"
        self.auth = auth
        self.busy = busy
        self.tuned = tuned
        self._env = isolated(
            self.home,
            PREFECT_API_DATABASE_CONNECTION_URL=self.database.url,
            PREFECT_UI_ENABLED="false",
            PREFECT_SERVER_CSRF_PROTECTION_ENABLED=str(csrf).lower(),
            PREFECT_API_SERVICES_SCHEDULER_ENABLED=str(scheduler).lower(),
            **({"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}),
            **(env or {}),
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def major(self) -> int:
        """The major version: 2 or 3."""
        return int(self.version.partition(".")[0])

    @property
    def pid(self) -> int:
        """The process id of a running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not exited."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start on the existing data, or on a copy of the template.

        Raises `NotStarted`.
        """
        self.database.start(template(self.version, self.database))
        ready = {
            "PREFECT_API_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        }
        self._launch(self._env | ready)

    def _launch(self, env: dict[str, str]) -> None:
        serve = Path(__file__).with_name("serve.py")
        options = {"host": self.host, "port": self.port, "busy": self.busy, "tuned": self.tuned}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                die_with_parent(self.python, serve, json.dumps(options)),
                cwd=self.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_healthy()

    def wait_healthy(self, seconds: float = START_SECONDS) -> None:
        """Wait until the server answers. Raises `NotStarted`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_running:
                raise NotStarted(f"Prefect {self.version} exited:\n{self.log_end()}")
            try:
                with urllib.request.urlopen(f"{self.api_url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise NotStarted(f"Prefect {self.version} does not answer:\n{self.log_end()}")

    def log_end(self, lines: int = 40) -> str:
        """Return the last lines of the server's output."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """Kill the server and keep its data."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Stop a running server (SIGSTOP): idle ones take a tenth of the machine."""
        if self.is_running:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused server."""
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kill the server and start it again on the same port and data."""
        self.kill()
        self.start()

    def snapshot(self) -> Path:
        """Copy the current data for a later `reset` and return the path of the copy (SQLite)."""
        path = self.home / "snapshot.db"
        self.database.save(path)
        return path

    def reset(self, data: Path | None = None) -> None:
        """Restore the data of a fresh server, or of a snapshot; the server may be running."""
        fresh = template(self.version, self.database)
        self.database.start(fresh)
        self.database.reset(data or fresh)

    def expire_locks(self) -> None:
        """Let the locks of deploys look as if their holders had died long ago (SQLite)."""
        assert isinstance(self.database, Sqlite)
        with closing(sqlite3.connect(self.database.path, timeout=30)) as db, db:
            db.execute("UPDATE variable SET updated = '2020-01-01 00:00:00.000000'")

    def close(self) -> None:
        """Kill the server, release its port and delete its home folder."""
        self.kill()
        self.database.close()
        self._held.close()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def running(version: str, **options: Any) -> Iterator[Server]:
    """Run a server for the duration of a block; takes the arguments of `Server`."""
    server = Server(version, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()


def template(version: str, database: Database) -> Path:
    """Return the data of a fresh server of this version, creating it on first use."""
    path = CACHE / f"prefect-{version}" / database.template_name
    if not path.exists():
        _make_template(version, path, type(database) is Postgres)
    return path


def _make_template(version: str, path: Path, postgres: bool) -> None:
    server = Server(version, scheduler=False, database="postgres" if postgres else "sqlite")
    try:
        server.database.start(None)
        server._launch(server._env)
        server.kill()
        part = path.with_name(f"{path.name}.{os.getpid()}")
        server.database.save(part)
        with suppress(OSError):  # another test process was quicker
            part.replace(path)
    finally:
        server.close()


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
