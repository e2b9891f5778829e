"""The databases of test servers: a file of SQLite, or a PostgreSQL server of its own.

Migrating an empty database takes 8 to 9 s. The finished one is kept beside the version's virtual
environment, and each server starts on a copy. PostgreSQL is the machine's own, or that of Debian's
package, unpacked into the cache.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Protocol

from tests.support.debian import find_program
from tests.support.ports import held_port

_VERSION = "15"
_BIN = f"usr/lib/postgresql/{_VERSION}/bin"
_USER = "nobody"
"""Who runs PostgreSQL if the tests run as root, which it refuses."""
_START_SECONDS = 60.0


class Database(Protocol):
    """The data of one Prefect server."""

    @property
    def url(self) -> str:
        """The value of PREFECT_API_DATABASE_CONNECTION_URL."""

    @property
    def template_name(self) -> str:
        """The name of the template beside a version's virtual environment."""

    def start(self, template: Path | None) -> None:
        """Make the data reachable; new data is a copy of the template, or empty without one."""

    def save(self, path: Path) -> None:
        """Copy the current data to a path that does not exist yet, while no server uses it."""

    def reset(self, data: Path) -> None:
        """Restore the rows of a template while the Prefect server runs."""

    def close(self) -> None:
        """Stop and delete everything."""


class Sqlite:
    """A file in the server's home folder."""

    template_name = "template.db"

    def __init__(self, home: Path) -> None:
        self.path = home / "prefect.db"
        self.url = f"sqlite+aiosqlite:///{self.path}"

    def start(self, template: Path | None) -> None:
        """Copy the template unless there is data."""
        if template is not None and not self.path.exists():
            shutil.copyfile(template, self.path)

    def save(self, path: Path) -> None:
        """Copy the data; a server may be using it."""
        with closing(sqlite3.connect(self.path)) as db, closing(sqlite3.connect(path)) as copy:
            db.backup(copy)

    def reset(self, data: Path) -> None:
        """Replace all rows by those of another file."""
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute("ATTACH ? AS template", (str(data),))
            names = "SELECT name FROM template.sqlite_master WHERE type = 'table'"
            tables = [name for (name,) in db.execute(names) if not name.startswith("sqlite_")]
            db.execute("BEGIN IMMEDIATE")
            for table in tables:
                db.execute(f'DELETE FROM main."{table}"')
                db.execute(f'INSERT INTO main."{table}" SELECT * FROM template."{table}"')
            db.execute("COMMIT")

    def close(self) -> None:
        """Do nothing: the file is deleted with the home folder."""


class Postgres:
    """A PostgreSQL server with one database, on a loopback port.

    `durable`: commits wait for the disk, as in production. Benchmarks need it; tests are faster
    without.
    """

    template_name = f"template-postgres-{_VERSION}"

    def __init__(self, *, durable: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._folder / "data"
        self._durable = durable
        self._held = held_port()
        self._port: int = self._held.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+asyncpg://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of the running PostgreSQL server."""
        assert self._process is not None
        return self._process.pid

    def start(self, template: Path | None) -> None:
        """Start on a copy of the template unless there is data."""
        if self._process is not None:
            return
        if template is not None:
            shutil.copytree(template, self._data)
        _own(self._folder)
        if template is None:
            initdb = [_program("initdb"), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
            self._check([*initdb, "--locale=C", "--no-sync", "-D", str(self._data)])
        self._data.chmod(0o700)
        fast = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        options = [] if self._durable else [part for each in fast for part in ("-c", each)]
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_unprivileged("--pdeathsig=QUIT"),
                    *(_program("postgres"), "-D", str(self._data), "-p", str(self._port)),
                    *("-c", "listen_addresses=127.0.0.1", "-k", str(self._folder), *options),
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + _START_SECONDS
        while subprocess.run(self._client("pg_isready", "-q"), check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self._folder / "postgres.log").read_text(errors="replace"))
            time.sleep(0.02)

    def save(self, path: Path) -> None:
        """Stop PostgreSQL, and copy its data and all rows as text for `reset`."""
        dump = self._check(self._client("pg_dump", "--data-only", "--disable-triggers"))
        self._stop(signal.SIGINT)
        shutil.copytree(self._data, path)
        (path / "postmaster.pid").unlink(missing_ok=True)
        (path / "rows.sql").write_bytes(dump)

    def reset(self, data: Path) -> None:
        """Replace all rows by those of a template."""
        listing = "SELECT string_agg(quote_ident(tablename), ',') FROM pg_tables"
        psql = self._client("psql", "-qAt", "-v", "ON_ERROR_STOP=1")
        where = "WHERE schemaname = 'public'"
        tables = self._check([*psql, "-c", f"{listing} {where}"]).decode().strip()
        script = f"TRUNCATE {tables};\n".encode() + (data / "rows.sql").read_bytes()
        self._check([*psql, "--single-transaction", "-f", "-"], script)

    def close(self) -> None:
        """Stop PostgreSQL and delete its data."""
        self._stop(signal.SIGQUIT)
        self._held.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def _client(self, program: str, *args: str) -> list[str]:
        address = ["-h", "127.0.0.1", "-p", str(self._port), "-U", "postgres"]
        return [_program(program), *address, *args]

    def _check(self, command: Sequence[str], stdin: bytes = b"") -> bytes:
        ended = subprocess.run(
            [*_unprivileged(), *command],
            cwd=self._folder,
            input=stdin,
            capture_output=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"{command[0]}: {ended.stderr.decode(errors='replace')}")
        return ended.stdout


@cache
def lacks_postgres() -> str:
    """Return why PostgreSQL cannot be started on this machine; "" if it can."""
    if not shutil.which("setpriv"):
        return "setpriv is not installed"
    if not _program("initdb"):
        return f"PostgreSQL {_VERSION} is not installed, and apt can't download it"
    version = [*_unprivileged(), _program("initdb"), "--version"]
    ended = subprocess.run(version, cwd="/", capture_output=True, text=True, check=False)
    return ended.stderr.strip()


@cache
def _program(name: str) -> str:
    package = "postgresql-client" if name in ("psql", "pg_dump", "pg_isready") else "postgresql"
    return find_program(name, f"{package}-{_VERSION}", f"/{_BIN}", folders=(_BIN,)) or ""


def _unprivileged(*options: str) -> list[str]:
    """Return the start of a command line that runs a program as an ordinary user."""
    user = [f"--reuid={_USER}", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", *user, *options] if user or options else []


def _own(folder: Path) -> None:
    """Make the user of PostgreSQL the owner of a folder, if that isn't the user of the tests."""
    if os.getuid() == 0:
        owner = pwd.getpwnam(_USER)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
