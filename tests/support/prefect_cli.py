"""The real `prefect` command of a test environment, for comparing with what it does."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.environment import isolated
from tests.support.servers import Server


@dataclass(frozen=True)
class Ended:
    """How a program ended and what it wrote."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class PrefectCli:
    """`prefect`, of the server's version, set to talk to that server; `home` is its home folder."""

    server: Server
    home: Path

    def run(self, *args: str, cwd: Path, **env: str) -> Ended:
        """Runs `prefect ARGS` without a terminal, so that it never asks."""
        settings = {"PREFECT_API_URL": self.server.api_url, "COLUMNS": "200", "NO_COLOR": "1"}
        if self.server.auth:
            settings["PREFECT_API_AUTH_STRING"] = self.server.auth
        return run_program(
            [str(self.server.python.with_name("prefect")), *args],
            cwd=cwd,
            env=isolated(self.home, **settings | env),
        )

    def deploy(self, folder: Path, *args: str) -> Ended:
        """Runs `prefect --no-prompt deploy ARGS` in `folder`; fails the test when it fails."""
        ended = self.run("--no-prompt", "deploy", *args, cwd=folder)
        assert ended.code == 0, f"prefect deploy failed:\n{ended.stdout}\n{ended.stderr}"
        return ended


def run_program(command: list[str], *, cwd: Path, env: dict[str, str], timeout: int = 240) -> Ended:
    """Runs a program to its end with nothing on its standard input."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
