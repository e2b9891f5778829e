"""`deploy` as a hook: time limit, tolerated errors, and what it leaves in its container."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from deployctl.cli import container, time_limit
from deployctl.cli.container import copy_output_to_log, write_termination_message
from deployctl.cli.context import command_context
from deployctl.cli.exit import Exit
from deployctl.cli.options import OutputFormat, OutputOptions
from deployctl.cli.signals import stop_on_signals
from deployctl.cli.time_limit import TimeExpired, TimeLimit
from deployctl.core.errors import Interrupted, Unreachable
from deployctl.core.redact import register_secrets
from tests.support.environment import isolated
from tests.support.ports import held_port
from tests.support.prefect_cli import CommandResult, run_program
from tests.support.project import write_project
from tests.support.waiting import until

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
FILE = {
    "name": "p",
    "deployments": [{"name": "d", "entrypoint": "flows.py:hello", "work_pool": {"name": "w"}}],
}


def no_report() -> None:
    raise AssertionError("a forced exit")


def wait_forever() -> None:
    while True:
        time.sleep(0.01)


def test_time_limit_ends_a_block_without_signal_handling() -> None:
    before = signal.getsignal(signal.SIGALRM)
    limit = TimeLimit(0.01, no_report, 1)
    with pytest.raises(TimeExpired), limit:
        wait_forever()
    assert limit.is_expired
    assert signal.getsignal(signal.SIGALRM) is before


def test_time_limit_stops_gracefully_where_signals_do() -> None:
    with stop_on_signals(pytest.fail) as stop, TimeLimit(0.01, no_report, 1) as limit:
        until(lambda: stop.is_cancelled)
        assert limit.is_expired


def test_commands_without_a_time_limit_leave_its_signal_alone() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with stop_on_signals(pytest.fail):
        assert signal.getsignal(signal.SIGALRM) is before


def test_time_limit_of_a_block_that_ends_in_time() -> None:
    with TimeLimit(1000, no_report, 1) as limit:
        pass
    assert not limit.is_expired
    limit._thread.join()


def test_block_that_does_not_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_limit, "_MAX_REPORT", 100)
    exited = threading.Event()
    calls: list[object] = []

    def exit_process(code: int) -> None:
        calls.append(code)
        exited.set()

    limit = TimeLimit(
        0.01, lambda: calls.append("report"), 7, grace=0.01, exit_process=exit_process
    )
    with stop_on_signals(pytest.fail), limit:
        assert exited.wait(100)
    assert calls == ["report", 7]


def deploy(folder: Path, *args: str, **env: str) -> CommandResult:
    """Runs a deploy in a process of its own, which a time limit may stop at any point."""
    program = Path(sys.executable).with_name("deployctl")
    environ = isolated(folder, **env)
    return run_program([str(program), "deploy", "--all", *args], cwd=folder, env=environ)


def waiting_deploy(folder: Path, *args: str) -> tuple[CommandResult, str]:
    """A deploy whose time passes while it waits for a server; also the server's address."""
    write_project(folder, json.dumps(FILE))
    waits = ("--wait-for-api", "1000", "--timeout", "1")
    with held_port() as port:
        url = f"http://127.0.0.1:{port.getsockname()[1]}/api"
        return deploy(folder, "--output", "json", *waits, *args, PREFECT_API_URL=url), url


def diagnostics(result: CommandResult) -> dict[str, str]:
    """Code and severity of all diagnostics."""
    return {each["code"]: each["severity"] for each in json.loads(result.stdout)["diagnostics"]}


def test_end_of_the_time_is_an_error_that_says_what_is_not_done(tmp_path: Path) -> None:
    result, url = waiting_deploy(tmp_path)
    assert result.code == 1
    (error,) = json.loads(result.stdout)["diagnostics"]
    assert error["code"] == "DC008"
    during = f"(loading the project|waiting for {re.escape(url)})"
    assert re.fullmatch(
        f"not finished within 1 s, while {during}; nothing was deployed", error["message"]
    )


def test_tolerated_end_of_the_time_is_a_warning(tmp_path: Path) -> None:
    result, _ = waiting_deploy(tmp_path, "--on-error", "warn")
    assert result.code == 0
    assert diagnostics(result) == {"DC008": "warning", "DC529": "warning"}


@pytest.mark.parametrize(
    ("on_error", "code", "severity"), [("warn", 0, "warning"), ("fail", 1, "error")]
)
def test_error_in_the_file(tmp_path: Path, on_error: str, code: int, severity: str) -> None:
    result = deploy(tmp_path, "--on-error", on_error, "--output", "json")
    assert result.code == code
    assert diagnostics(result)["DC100"] == severity


def fail(error: Exception, *, tolerates: bool) -> int:
    """The exit code of a hook that raises an error."""
    try:
        with command_context("deploy", OutputOptions(OutputFormat.JSON)) as ctx:
            ctx.is_hook, ctx.tolerates_errors = True, tolerates
            raise error
    except Exit as exited:
        return exited.code


def test_signal_is_not_tolerated() -> None:
    assert fail(Interrupted("stopped", signal=signal.SIGTERM), tolerates=True) == 143


def test_reason_of_a_failure_is_the_termination_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "message"
    file.write_text("an older and longer message that nothing shall be left of")
    for name, value in (POD | {"TERMINATION_LOG_PATH": str(file)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CI", raising=False)
    register_secrets(["rosebud-78"])
    for tolerates, code in ((False, 1), (True, 0)):
        error = Unreachable("no answer from http://u:rosebud-78@prefect")
        assert fail(error, tolerates=tolerates) == code
        assert file.read_text() == "error[DC010]: no answer from http://********@prefect"


@pytest.mark.parametrize("environ", [{}, POD | {"CI": "true"}])
def test_termination_message_is_written_only_in_containers(
    tmp_path: Path, environ: Mapping[str, str]
) -> None:
    file = tmp_path / "message"
    file.touch()
    write_termination_message(["reason"], {**environ, "TERMINATION_LOG_PATH": str(file)})
    assert file.read_text() == ""


def test_missing_termination_message_is_not_created(tmp_path: Path) -> None:
    file = tmp_path / "message"
    write_termination_message(["reason"], POD | {"TERMINATION_LOG_PATH": str(file)})
    assert not file.exists()


def test_termination_message_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.touch()
    write_termination_message(["é" * 5000], POD | {"TERMINATION_LOG_PATH": str(file)})
    assert file.read_text() == "é" * 2048


@contextmanager
def printing_to(file: Path) -> Iterator[None]:
    """Makes a file our standard output and error."""
    with (
        file.open("a", buffering=1) as stream,
        patch.object(sys, "stdout", stream),
        patch.object(sys, "stderr", stream),
    ):
        yield


def test_output_is_copied_to_the_log(tmp_path: Path) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    log.write_text("worker\n")
    with printing_to(output):
        copy_output_to_log(POD, log)
        print("deployed")
        print("problem", file=sys.stderr)
    assert log.read_text() == "worker\ndeployed\nproblem\n"
    assert output.read_text() == "deployed\nproblem\n"


@pytest.mark.parametrize("environ", [{}, POD | {"CI": "true"}])
def test_output_is_copied_only_in_containers(tmp_path: Path, environ: Mapping[str, str]) -> None:
    log = tmp_path / "log"
    log.touch()
    with printing_to(tmp_path / "output"):
        copy_output_to_log(environ, log)
        print("deployed")
    assert log.read_text() == ""


def test_output_that_is_the_log_is_not_copied(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with printing_to(output):
        copy_output_to_log(POD, output)
        print("deployed")
    assert output.read_text() == "deployed\n"


def test_output_on_a_terminal_is_not_copied(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    _, terminal = os.openpty()
    with printing_to(Path(os.ttyname(terminal))):
        copy_output_to_log(POD, log)
        print("deployed")
    assert log.read_text() == ""


def test_log_that_cannot_be_opened_fails_nothing(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with printing_to(output):
        copy_output_to_log(POD, tmp_path)
        copy_output_to_log(POD, tmp_path / "none")
        print("deployed")
    assert output.read_text() == "deployed\n"


@pytest.mark.parametrize("is_closed", [False, True])
def test_log_that_nobody_reads_blocks_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    monkeypatch.setattr(container, "_MAX_WAIT", 1)
    output, log = tmp_path / "output", tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with printing_to(output):
        copy_output_to_log(POD, log)
        if is_closed:
            os.close(reader)
        print("x" * 1_000_000)
        print("deployed")
    assert output.stat().st_size == 1_000_000 + len("\ndeployed\n")
    if not is_closed:
        os.close(reader)
