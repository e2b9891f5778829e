"""Options of `deployctl worker`, and how its errors are reported."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployctl.app.worker.serving import WorkerContext
from deployctl.cli import main
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted, SettingsError
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.runtimes import RuntimeKind
from deployctl.worker.settings import WorkOptions


class FakeRunWorker:
    """Records the arguments of `run_worker`, then calls `action`."""

    options: WorkOptions
    context: WorkerContext

    def __init__(self) -> None:
        self.action: Callable[[EventLog], None] = lambda _event_log: None

    def __call__(
        self,
        options: WorkOptions,
        context: WorkerContext,
        event_log: EventLog,
        _stop: CancellationToken,
    ) -> None:
        self.options, self.context = options, context
        self.action(event_log)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRunWorker:
    fake = FakeRunWorker()
    monkeypatch.setattr("deployctl.app.worker.startup.run_worker", fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return fake


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def run(*args: str) -> int:
        monkeypatch.setattr(sys, "argv", ["deployctl", "worker", *args])
        return main.run()

    return run


def last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().err.splitlines()[-1])


CHART = (
    "start --type kubernetes --pool p --work-queue a --work-queue b --install-policy prompt"
    " --limit 3 --name w --with-healthcheck"
)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ("-p p -n w", {}),
        ("start --pool p -n w", {}),
        ("--pool p start --name w", {}),
        (
            CHART,
            {"type": "kubernetes", "queues": ("a", "b"), "limit": 3, "with_healthcheck": True},
        ),
        ("-p p -n w -t process -q a -q a -l 1", {"type": "process", "queues": ("a",), "limit": 1}),
        ("-p p -n w --run-once --runtime process", {"run_once": True, "runtime": "process"}),
        ("-p p -p q -n w --pool team-* -p q", {"other_pools": ("q", "team-*")}),
        ("-p p -n w --no-create-pool", {"create_pool": False}),
        ("-p p -n w --no-create-pool-if-not-found", {"create_pool": False}),
        ("-p p -n w --create-pool-if-not-found", {}),
    ],
)
def test_maps_options_to_work_options(
    args: str, options: dict[str, Any], worker: FakeRunWorker, run: Callable[..., int]
) -> None:
    assert run(*args.split()) == 0
    assert worker.options == WorkOptions(pool="p", name="w", **options)


def test_reads_settings_from_options_and_environment(
    worker: FakeRunWorker, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_WORKER_PREFETCH_SECONDS", "20")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "5")
    assert run("-p", "p", "--prefetch-seconds", "3", "--api-url", "http://a/api") == 0
    assert worker.context.settings.api_url == "http://a/api"
    assert worker.context.worker.prefetch_seconds == 3.0
    assert worker.context.worker.query_seconds == 5.0


def test_default_name_is_stable(worker: FakeRunWorker, run: Callable[..., int]) -> None:
    run("-p", "p")
    first = worker.options.name
    run("-p", "p")
    assert worker.options.name == first
    assert first.startswith("deployctl ")


def test_reads_base_job_template_from_file(worker: FakeRunWorker, run: Callable[..., int]) -> None:
    template = {"job_configuration": {"image": "{{ image }}"}, "variables": {"properties": {}}}
    Path("t.json").write_text(json.dumps(template), encoding="utf-8")
    assert run("-p", "p", "--base-job-template", "t.json") == 0
    assert worker.options.base_job_template == template


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read 't.json': No such file or directory"),
        (b'{\n  "a": x\n}', "t.json:2:8: not valid JSON"),
    ],
)
def test_rejects_invalid_base_job_template(
    text: bytes | None,
    message: str,
    worker: FakeRunWorker,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if text is not None:
        Path("t.json").write_bytes(text)
    assert run("-p", "p", "--base-job-template", "t.json") == 1
    line = last_line(capsys)
    assert (line["event"], line["facts"]["code"]) == ("worker.failed", "DC681")
    assert message in line["message"]
    assert not hasattr(worker, "options")


@pytest.mark.parametrize(
    "args",
    [
        "",
        "-p p -n a/b",
        "-p p%q",
        "-p p -p a/b",
        "stop -p p",
        "-p p --limit 0",
        "-p p --runtime cloud",
    ],
)
def test_rejects_invalid_options(args: str, worker: FakeRunWorker, run: Callable[..., int]) -> None:
    assert run(*args.split()) == 64
    assert not hasattr(worker, "options")


def failing(error: Exception) -> Callable[[EventLog], None]:
    def action(_event_log: EventLog) -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SettingsError("no server", help="Set one."), "DC003", "no server"),
        (ValueError("oops"), "DC001", "ValueError: oops"),
    ],
)
def test_error_is_last_entry_of_log(
    error: Exception,
    code: str,
    message: str,
    worker: FakeRunWorker,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker.action = failing(error)
    assert run("-p", "p") == 1
    line = last_line(capsys)
    assert (line["level"], line["facts"]["code"], line["message"]) == ("error", code, message)
    assert line["facts"]["help"]


def test_worker_stopped_before_start_exits_with_signal_code(
    worker: FakeRunWorker, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    worker.action = failing(Interrupted("stopped on request", signal=signal.SIGTERM))
    assert run("-p", "p") == 143
    assert capsys.readouterr().err == ""


def test_log_level_comes_from_settings(
    worker: FakeRunWorker,
    run: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")

    def emit_two(event_log: EventLog) -> None:
        event_log.emit(Level.INFO, EventName.WORKER_STARTED, "")
        event_log.emit(Level.WARNING, EventName.WORKER_STOPPING, "")

    worker.action = emit_two
    run("-p", "p", "--log-format", "json")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == [
        "worker.stopping"
    ]


def test_runtimes_are_named_like_pool_types() -> None:
    assert {kind.value for kind in RuntimeKind} == {"kubernetes", "docker", "process"}
