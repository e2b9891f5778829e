"""Real Prefect servers on SQLite: each on a free loopback port, with a home of its own.

What costs time is migrating an empty database and registering the built-in blocks (8 to 9 s) and
importing Prefect (3 s). The first is paid once per version: a finished database is kept beside the
version's virtual environment and copied for each new server. The second is paid per start, so a
test that wants an empty server takes a running one and calls `reset`, which puts the template's
rows back under the server's feet in some 20 ms. Automations that the server has loaded into its
memory outlive a reset; a test that waits for one to fire takes a new server instead.
"""

from __future__ import annotations

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
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.die_with_parent import die_with_parent
from tests.support.environment import isolated
from tests.support.ports import held_port

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("DEPLOYCTL_TEST_CACHE") or ROOT / ".cache").resolve()
PREFECT_3 = "3.8.8"
PREFECT_2 = "2.20.26"
START_SECONDS = 180.0


class NotStarted(Exception):
    """The server ended, or did not answer in time; the message holds the end of its log."""


def interpreter(version: str) -> Path:
    """The Python of the virtual environment that `make` fills with this version of Prefect."""
    return CACHE / f"prefect-{version}" / "bin" / "python"


def is_installed(version: str) -> bool:
    """Whether `make servers` has finished for this version."""
    return (CACHE / f"prefect-{version}" / ".ready").exists()


class Server:
    """One Prefect server and its data.

    `csrf`, `auth` ("user:password"; 2.20 has no such thing) and `scheduler` switch the server's own
    settings; `env` adds others; it listens on `host`; `busy` is for how many seconds a write waits
    for others: with Prefect's own 60 a server stands still for a minute whenever one write on
    SQLite blocks itself. The server does not run before `start`.
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
        env: dict[str, str] | None = None,
    ) -> None:
        self.version = version
        self.python = interpreter(version)
        self.home = Path(tempfile.mkdtemp(prefix=f"prefect-{version}-"))
        self.database = self.home / "prefect.db"
        self.log = self.home / "server.log"
        self.host = host
        self._held = held_port(host)
        self.port: int = self._held.getsockname()[1]
        self.api_url = f"http://{host}:{self.port}/api"
        self.auth = auth
        self.busy = busy
        self._env = isolated(
            self.home,
            PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{self.database}",
            PREFECT_UI_ENABLED="false",
            PREFECT_SERVER_CSRF_PROTECTION_ENABLED=str(csrf).lower(),
            PREFECT_API_SERVICES_SCHEDULER_ENABLED=str(scheduler).lower(),
            **({"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}),
            **(env or {}),
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def major(self) -> int:
        """2 or 3."""
        return int(self.version.partition(".")[0])

    @property
    def pid(self) -> int:
        """The process of a server that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts on the data that is there, or on a fresh copy of the template.

        Raises `NotStarted`.
        """
        if not self.database.exists():
            shutil.copyfile(template(self.version), self.database)
        ready = {
            "PREFECT_API_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
            "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
        }
        self._launch(self._env | ready)

    def _launch(self, env: dict[str, str]) -> None:
        serve = Path(__file__).with_name("serve.py")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                die_with_parent(self.python, serve, self.host, str(self.port), str(self.busy)),
                cwd=self.home,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.wait_healthy()

    def wait_healthy(self, seconds: float = START_SECONDS) -> None:
        """Returns once the server answers; raises `NotStarted` when it does not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.is_running:
                raise NotStarted(f"Prefect {self.version} ended:\n{self.log_end()}")
            try:
                with urllib.request.urlopen(f"{self.api_url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise NotStarted(f"Prefect {self.version} gave no answer:\n{self.log_end()}")

    def log_end(self, lines: int = 40) -> str:
        """The last lines that the server wrote."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def kill(self) -> None:
        """Ends the server as a power failure would; its data stays."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def pause(self) -> None:
        """Lets a running server do nothing at all: idle ones would take a tenth of the machine."""
        if self.is_running:
            os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Lets a server that was paused go on."""
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Kills the server and starts it on the same port and data."""
        self.kill()
        self.start()

    def snapshot(self) -> Path:
        """Copies the data as it is now, for `reset`; gives the copy's path."""
        path = self.home / "snapshot.db"
        with closing(sqlite3.connect(self.database)) as db, closing(sqlite3.connect(path)) as copy:
            db.backup(copy)
        return path

    def reset(self, data: Path | None = None) -> None:
        """Puts the data of a fresh server back, or of a snapshot, while the server runs."""
        with closing(sqlite3.connect(self.database, timeout=30, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute("ATTACH ? AS template", (str(data or template(self.version)),))
            names = "SELECT name FROM template.sqlite_master WHERE type = 'table'"
            tables = [name for (name,) in db.execute(names) if not name.startswith("sqlite_")]
            db.execute("BEGIN IMMEDIATE")
            for table in tables:
                db.execute(f'DELETE FROM main."{table}"')
                db.execute(f'INSERT INTO main."{table}" SELECT * FROM template."{table}"')
            db.execute("COMMIT")

    def close(self) -> None:
        """Ends the server, gives its port back and deletes its home."""
        self.kill()
        self._held.close()
        shutil.rmtree(self.home, ignore_errors=True)


@contextmanager
def running(version: str, **options: Any) -> Iterator[Server]:
    """A started `Server` for the length of a block; takes the options of `Server`."""
    server = Server(version, **options)
    try:
        server.start()
        yield server
    finally:
        server.close()


def template(version: str) -> Path:
    """The database of a fresh server of this version, made when it is first asked for."""
    path = CACHE / f"prefect-{version}" / "template.db"
    if not path.exists():
        _make_template(version, path)
    return path


def _make_template(version: str, path: Path) -> None:
    server = Server(version, scheduler=False)
    try:
        server._launch(server._env)
        server.kill()
        part = path.with_suffix(f".{os.getpid()}")
        with (
            closing(sqlite3.connect(server.database)) as made,
            closing(sqlite3.connect(part)) as copy,
        ):
            made.backup(copy)
        part.replace(path)
    finally:
        server.close()


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
