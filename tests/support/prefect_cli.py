"""The real `prefect` command of a test environment, to compare deployctl with."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.environment import isolated
from tests.support.servers import Server


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a program."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class PrefectCli:
    """The `prefect` command of a server's version, configured for that server.

    `home` is its home folder.
    """

    server: Server
    home: Path

    def run(self, *args: str, cwd: Path, **env: str) -> CommandResult:
        """Runs `prefect ARGS` without a terminal, so that it never prompts."""
        return run_program([self._program, *args], cwd=cwd, env=self._environment(env))

    @contextmanager
    def running(self, *args: str, cwd: Path, **env: str) -> Iterator[Path]:
        """Runs `prefect ARGS` during the block; yields the file with its output."""
        log = self.home / "running.log"
        environment = self._environment(env)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [self._program, *args],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield log
        finally:
            process.kill()
            process.wait()

    @property
    def _program(self) -> str:
        return str(self.server.python.with_name("prefect"))

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        settings = {"PREFECT_API_URL": self.server.api_url, "COLUMNS": "200", "NO_COLOR": "1"}
        if self.server.auth:
            settings["PREFECT_API_AUTH_STRING"] = self.server.auth
        return isolated(self.home, **settings | more)

    def deploy(self, folder: Path, *args: str) -> CommandResult:
        """Runs `prefect --no-prompt deploy ARGS` in `folder`. Raises AssertionError if it fails."""
        result = self.run("--no-prompt", "deploy", *args, cwd=folder)
        assert result.code == 0, f"prefect deploy failed:\n{result.stdout}\n{result.stderr}"
        return result


def run_program(
    command: list[str], *, cwd: Path, env: dict[str, str], timeout: int = 600
) -> CommandResult:
    """Runs a program to its end, with empty stdin."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return CommandResult(result.returncode, result.stdout, result.stderr)
