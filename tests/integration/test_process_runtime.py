"""Jobs as real local processes, that go on when their worker dies."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients import supervised
from deployctl.jobs.model import JobSpec, Limits
from deployctl.worker.model import (
    JobChanged,
    JobVanished,
    LinePrinted,
    Phase,
    StartFailed,
)
from deployctl.worker.runtimes.process import ProcessRuntime
from tests.support.runtime_news import watching
from tests.support.waiting import until

POOL = "pool-1"


def described(*command: str, attempt: str = "attempt-1", **changes: Any) -> JobSpec:
    values: dict[str, Any] = {
        "run": "run-1",
        "attempt": attempt,
        "pool": POOL,
        "name": "name-1",
        "worker": "w",
        "configuration": {},
        "command": command,
        "env": {},
    }
    return JobSpec(**(values | changes))


def python(code: str, **changes: Any) -> JobSpec:
    return described(sys.executable, "-c", code, **changes)


def runtime(state: Path, **options: Any) -> ProcessRuntime:
    settings: dict[str, Any] = {"major": 3, "environ": os.environ, "grace": 0.0}
    return ProcessRuntime(state, POOL, **(settings | options))


def appears(path: Path) -> None:
    until(path.exists, lambda: f"no {path}")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    for pid in folder.glob("*/*/pid"):
        if supervised.inspect_process(pid.parent).alive:
            supervised.signal_group(int(pid.read_text()), signal.SIGKILL)


def test_a_job_runs_to_its_end_with_its_environment_and_folder(state: Path, tmp_path: Path) -> None:
    code = "import os; print(os.environ['A'], os.environ['B'], os.getcwd())"
    local = runtime(state, environ={"A": "ours", "B": "ours"})
    with watching(local) as heard:
        spec = python(code, env={"B": "its"}, configuration={"working_dir": str(tmp_path)})
        started = local.start(spec)
        ended = heard.job(Phase.SUCCEEDED)
    assert (started.phase, started.started) == (Phase.RUNNING, True)
    assert (ended.run, ended.attempt, ended.name, ended.worker, ended.pid) == (
        "run-1",
        "attempt-1",
        "name-1",
        "w",
        started.pid,
    )
    assert local.tail_logs(ended, 10) == [f"ours its {tmp_path}"]


@pytest.mark.parametrize("ahead", [600.0, -600.0])
def test_times_are_those_of_the_server(state: Path, ahead: float) -> None:
    local = runtime(state, clock=lambda: time.time() + ahead)
    began = time.time() + ahead
    with watching(local) as heard:
        started = local.start(python(""))
        ended = heard.job(Phase.SUCCEEDED)
    assert all(abs(job.since - began) < abs(ahead) / 2 for job in (started, ended))


def test_without_a_folder_of_its_own_a_job_gets_a_fresh_one_that_goes_when_it_ends(
    state: Path,
) -> None:
    local = runtime(state)
    with watching(local) as heard:
        job = local.start(python("import os; open('x', 'w'); print(os.getcwd(), os.listdir())"))
        heard.job(Phase.SUCCEEDED)
        work, _, listing = local.tail_logs(job, 1)[0].partition(" ")
        assert listing == "['x']"
    assert not Path(work).exists()


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("raise SystemExit(1)", "ExitCode"),
        ("raise SystemExit(77)", "ExitCode"),
        ("import os; os.kill(os.getpid(), 9)", "Killed"),
        ("import os; os.kill(os.getpid(), 15)", "Terminated"),
        ("import os; os.abort()", "Signal"),
    ],
)
def test_a_failed_job_says_why(state: Path, code: str, cause: str) -> None:
    local = runtime(state)
    with watching(local) as heard:
        local.start(python(code))
        ended = heard.job(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == cause


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        (described("no-such-program"), "CommandNotFound"),
        (python("", configuration={"working_dir": "/no/such/folder"}), "NoWorkingDirectory"),
        (python("", env={"A": "nul \0"}), "StartError"),
        (python("", env={"A": "x" * 200_000}), "StartError"),
    ],
)
def test_what_cannot_be_started_is_refused_with_a_reason(
    state: Path, spec: JobSpec, cause: str
) -> None:
    local = runtime(state)
    with pytest.raises(StartFailed) as refused:
        local.start(spec)
    assert refused.value.cause.code == cause
    with watching(local) as heard:
        assert heard.listed() == []
    assert list((state / POOL).iterdir()) == []


def test_programs_are_found_beside_the_given_interpreter_first(state: Path, tmp_path: Path) -> None:
    program = tmp_path / "prefect"
    program.write_text("#!/bin/sh\necho ours $*\n")
    program.chmod(0o755)
    local = runtime(state, python=tmp_path / "python")
    with watching(local) as heard:
        job = local.start(described("prefect", "flow-run", "execute"))
        heard.job(Phase.SUCCEEDED)
    assert local.tail_logs(job, 1) == ["ours flow-run execute"]


def test_pids_are_written_as_each_major_writes_them(state: Path) -> None:
    new, old = runtime(state, major=3), runtime(state, major=2)
    with watching(new) as heard:
        job = new.start(python(""))
        heard.job(Phase.SUCCEEDED)
    host, _, pid = old.start(python("")).pid.partition(":")
    assert (host, pid) == (os.uname().nodename, job.pid)
    assert job.pid.isdigit()


def test_an_attempt_is_started_once_however_many_try(state: Path, tmp_path: Path) -> None:
    code = (
        f"import os; os.write(os.open({str(tmp_path / 'n')!r}, os.O_CREAT | os.O_APPEND | 1), b'x')"
    )
    locals_ = [runtime(state) for _ in range(4)]
    threads = [
        threading.Thread(target=local.start, args=(python(code),))
        for local in locals_
        for _ in "ab"
    ]
    with watching(locals_[0]) as heard:
        for thread in threads:
            thread.start()
        heard.job(Phase.SUCCEEDED)
        for thread in threads:
            thread.join()
    for local in locals_:
        assert local.start(python(code)).phase is Phase.SUCCEEDED
        local._poll()  # lets the system forget the ended shell
    assert (tmp_path / "n").read_text() == "x"


def test_a_stopped_job_ends_with_all_that_it_started_and_is_gone(state: Path) -> None:
    code = """
import subprocess, sys
print("up", flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""
    local = runtime(state, grace=60.0)
    with watching(local) as heard:
        job = local.start(python(code, limits=Limits(stream_output=True)))
        heard.until(lambda news: news == LinePrinted("attempt-1", "up"))
        local.stop(job)
        heard.until(lambda news: news == JobVanished("attempt-1"))
        local.stop(job)
    assert list((state / POOL).iterdir()) == []


def test_a_job_is_gone_although_its_folder_cannot_be_deleted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    local = runtime(state)
    with watching(local) as heard:
        job = local.start(python("import time; time.sleep(60)"))
        heard.job(Phase.RUNNING)
        monkeypatch.setattr(os, "unlink", refuse)
        local.stop(job)
        heard.until(lambda news: news == JobVanished("attempt-1"))
        monkeypatch.undo()


def test_a_job_that_does_not_end_when_asked_is_killed_after_its_grace(state: Path) -> None:
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("up", flush=True)
while True: time.sleep(1)
"""
    local = runtime(state, grace=3.0)
    with watching(local) as heard:
        job = local.start(python(code, limits=Limits(stream_output=True)))
        heard.until(lambda news: news == LinePrinted("attempt-1", "up"))
        local.stop(job)
        heard.until(lambda news: news == JobVanished("attempt-1"))
    assert LinePrinted("attempt-1", "no") in heard.all
    assert any(isinstance(news, JobChanged) and news.job.deleting for news in heard.all)


def test_printed_lines_are_told_in_order_and_before_the_end(state: Path) -> None:
    code = "import sys; [print(i) for i in range(30_000)]; sys.stdout.write('last')"
    local = runtime(state)
    with watching(local) as heard:
        local.start(python(code, limits=Limits(stream_output=True)))
        heard.job(Phase.SUCCEEDED)
    assert heard.lines == [*map(str, range(30_000)), "last"]


STARTS_AND_DIES = """
import os, signal, sys
from pathlib import Path
from tests.integration.test_process_runtime import python, runtime

spawn = os.posix_spawn
def dying_spawn(*args, **options):
    when = sys.argv[2]
    pid = None if when == "before" else spawn(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
os.posix_spawn = dying_spawn
runtime(Path(sys.argv[1])).start(python(sys.argv[3]))
"""


def dying_worker(state: Path, when: str, code: str) -> None:
    """Starts a job in a worker that SIGKILL hits `before` or `after` the program is started."""
    argv = [sys.executable, "-c", STARTS_AND_DIES, str(state), when, code]
    root = Path(__file__).parents[2]
    assert subprocess.run(argv, cwd=root, check=False).returncode == -signal.SIGKILL


def test_a_worker_that_dies_before_the_start_leaves_nothing_that_runs(
    state: Path, tmp_path: Path
) -> None:
    code = f"import os; os.mkdir({str(tmp_path / 'once')!r})"
    dying_worker(state, "before", code)
    local = runtime(state)
    with watching(local) as heard:
        assert heard.listed() == []
        local.start(python(code))
        heard.job(Phase.SUCCEEDED)


def test_a_job_whose_worker_died_is_adopted_and_its_end_is_known(
    state: Path, tmp_path: Path
) -> None:
    code = f"import os; os.mkdir({str(tmp_path / 'once')!r}); import time; time.sleep(60)"
    dying_worker(state, "after", code)
    appears(tmp_path / "once")
    local = runtime(state)
    with watching(local) as heard:
        [found] = heard.listed()
        assert (found.phase, found.worker) == (Phase.RUNNING, "w")
        assert local.start(python(code)) == found == local.find("attempt-1")
        assert local.find("attempt-2") is None
        os.killpg(int(found.pid), signal.SIGTERM)
        ended = heard.job(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == "Terminated"


def test_a_job_that_ended_while_no_worker_lived_is_found_with_its_exit_code(state: Path) -> None:
    dying_worker(state, "after", "raise SystemExit(3)")
    appears(state / POOL / "attempt-1" / "exit")
    with watching(runtime(state)) as heard:
        [found] = heard.listed()
    assert found.phase is Phase.FAILED
    assert found.cause
    assert "code 3" in found.cause.message


def test_a_job_killed_with_its_shell_has_failed_for_an_unknown_reason(state: Path) -> None:
    local = runtime(state)
    with watching(local) as heard:
        job = local.start(python("import time; time.sleep(60)"))
        heard.until(lambda news: isinstance(news, JobChanged) and news.job.started)
        os.killpg(int(job.pid), signal.SIGKILL)
        ended = heard.job(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == "Lost"


def test_a_program_whose_shell_was_killed_still_counts_as_running(state: Path) -> None:
    local = runtime(state)
    with watching(local) as heard:
        job = local.start(
            python(
                "print('up', flush=True); import time; time.sleep(60)",
                limits=Limits(stream_output=True),
            )
        )
        heard.until(lambda news: news == LinePrinted("attempt-1", "up"))
        os.kill(int(job.pid), signal.SIGKILL)
        with suppress(ChildProcessError):  # the runtime has let the system forget it
            os.waitpid(int(job.pid), 0)
        assert local.start(python("")).phase is Phase.RUNNING
        local.stop(job)
        heard.until(lambda news: news == JobVanished("attempt-1"))


STARTS_MANY = """
import sys
from pathlib import Path
from tests.integration.test_process_runtime import noted, runtime

print("ready", flush=True)
local = runtime(Path(sys.argv[1]))
for number in range(30):
    local.start(noted(Path(sys.argv[2]), number))
"""


def noted(folder: Path, number: int) -> JobSpec:
    """A job that leaves a line in a file of its own."""
    command = ("/bin/sh", "-c", f"echo ran >>{folder / str(number)}")
    return described(*command, attempt=f"attempt-{number}")


def test_whenever_workers_die_each_attempt_is_started_exactly_once(
    state: Path, tmp_path: Path
) -> None:
    argv = [sys.executable, "-c", STARTS_MANY, str(state), str(tmp_path)]
    draw = random.Random(4)
    for _ in range(4):
        workers = [
            subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0, 0.03))
        for worker in workers:
            worker.kill()
            worker.communicate()
    last = runtime(state)
    for number in range(30):
        last.start(noted(tmp_path, number))
    for number in range(30):
        appears(state / POOL / f"attempt-{number}" / "exit")
    runs = [(tmp_path / str(number)).read_text() for number in range(30)]
    assert runs == ["ran\n"] * 30
    last._poll()  # lets the system forget the ended shells
