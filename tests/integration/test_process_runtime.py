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
from tests.support.runtime_updates import recording
from tests.support.waiting import until

POOL = "pool-1"


def job_spec(*command: str, attempt: str = "attempt-1", **changes: Any) -> JobSpec:
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
    return job_spec(sys.executable, "-c", code, **changes)


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


def test_job_has_its_environment_and_working_directory(state: Path, tmp_path: Path) -> None:
    code = "import os; print(os.environ['A'], os.environ['B'], os.getcwd())"
    local = runtime(state, environ={"A": "ours", "B": "ours"})
    with recording(local) as recorder:
        spec = python(code, env={"B": "its"}, configuration={"working_dir": str(tmp_path)})
        started = local.start(spec)
        ended = recorder.wait_for_phase(Phase.SUCCEEDED)
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
def test_times_are_by_the_servers_clock(state: Path, ahead: float) -> None:
    local = runtime(state, clock=lambda: time.time() + ahead)
    began = time.time() + ahead
    with recording(local) as recorder:
        started = local.start(python(""))
        ended = recorder.wait_for_phase(Phase.SUCCEEDED)
    assert all(abs(job.since - began) < abs(ahead) / 2 for job in (started, ended))


def test_job_without_working_dir_gets_a_temporary_one(
    state: Path,
) -> None:
    local = runtime(state)
    with recording(local) as recorder:
        job = local.start(python("import os; open('x', 'w'); print(os.getcwd(), os.listdir())"))
        recorder.wait_for_phase(Phase.SUCCEEDED)
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
def test_failed_job_has_a_cause(state: Path, code: str, cause: str) -> None:
    local = runtime(state)
    with recording(local) as recorder:
        local.start(python(code))
        ended = recorder.wait_for_phase(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == cause


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        (job_spec("no-such-program"), "CommandNotFound"),
        (python("", configuration={"working_dir": "/no/such/folder"}), "NoWorkingDirectory"),
        (python("", env={"A": "nul \0"}), "StartError"),
        (python("", env={"A": "x" * 200_000}), "StartError"),
    ],
)
def test_failed_start_has_a_cause(state: Path, spec: JobSpec, cause: str) -> None:
    local = runtime(state)
    with pytest.raises(StartFailed) as refused:
        local.start(spec)
    assert refused.value.cause.code == cause
    with recording(local) as recorder:
        assert recorder.next_list() == []
    assert list((state / POOL).iterdir()) == []


def test_programs_next_to_the_interpreter_come_first(state: Path, tmp_path: Path) -> None:
    program = tmp_path / "prefect"
    program.write_text("#!/bin/sh\necho ours $*\n")
    program.chmod(0o755)
    local = runtime(state, python=tmp_path / "python")
    with recording(local) as recorder:
        job = local.start(job_spec("prefect", "flow-run", "execute"))
        recorder.wait_for_phase(Phase.SUCCEEDED)
    assert local.tail_logs(job, 1) == ["ours flow-run execute"]


def test_format_of_pids_per_major_version(state: Path) -> None:
    new, old = runtime(state, major=3), runtime(state, major=2)
    with recording(new) as recorder:
        job = new.start(python(""))
        recorder.wait_for_phase(Phase.SUCCEEDED)
    host, _, pid = old.start(python("")).pid.partition(":")
    assert (host, pid) == (os.uname().nodename, job.pid)
    assert job.pid.isdigit()


def test_attempt_is_started_once_under_concurrency(state: Path, tmp_path: Path) -> None:
    code = (
        f"import os; os.write(os.open({str(tmp_path / 'n')!r}, os.O_CREAT | os.O_APPEND | 1), b'x')"
    )
    locals_ = [runtime(state) for _ in range(4)]
    threads = [
        threading.Thread(target=local.start, args=(python(code),))
        for local in locals_
        for _ in "ab"
    ]
    with recording(locals_[0]) as recorder:
        for thread in threads:
            thread.start()
        recorder.wait_for_phase(Phase.SUCCEEDED)
        for thread in threads:
            thread.join()
    for local in locals_:
        assert local.start(python(code)).phase is Phase.SUCCEEDED
        local._poll()  # lets the system forget the ended shell
    assert (tmp_path / "n").read_text() == "x"


def test_stop_ends_the_whole_process_group(state: Path) -> None:
    code = """
import subprocess, sys
print("up", flush=True)
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""
    local = runtime(state, grace=60.0)
    with recording(local) as recorder:
        job = local.start(python(code, limits=Limits(stream_output=True)))
        recorder.wait_for(lambda update: update == LinePrinted("attempt-1", "up"))
        local.delete(job)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))
        local.delete(job)
    assert list((state / POOL).iterdir()) == []


def test_job_vanishes_although_its_folder_cannot_be_deleted(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    local = runtime(state)
    with recording(local) as recorder:
        job = local.start(python("import time; time.sleep(60)"))
        recorder.wait_for_phase(Phase.RUNNING)
        monkeypatch.setattr(os, "unlink", refuse)
        local.delete(job)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))
        monkeypatch.undo()


def test_job_that_ignores_sigterm_is_killed_after_the_grace_period(state: Path) -> None:
    code = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("up", flush=True)
while True: time.sleep(1)
"""
    local = runtime(state, grace=3.0)
    with recording(local) as recorder:
        job = local.start(python(code, limits=Limits(stream_output=True)))
        recorder.wait_for(lambda update: update == LinePrinted("attempt-1", "up"))
        local.delete(job)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))
    assert LinePrinted("attempt-1", "no") in recorder.received
    assert any(
        isinstance(update, JobChanged) and update.job.deleting for update in recorder.received
    )


def test_output_is_emitted_in_order_before_the_end(state: Path) -> None:
    code = "import sys; [print(i) for i in range(30_000)]; sys.stdout.write('last')"
    local = runtime(state)
    with recording(local) as recorder:
        local.start(python(code, limits=Limits(stream_output=True)))
        recorder.wait_for_phase(Phase.SUCCEEDED)
    assert recorder.lines == [*map(str, range(30_000)), "last"]


def test_output_is_emitted_only_of_jobs_with_stream_output(state: Path) -> None:
    local = runtime(state)
    with recording(local) as recorder:
        local.start(python("print('quiet')", limits=Limits(stream_output=False)))
        recorder.wait_for_phase(Phase.SUCCEEDED)
        local.start(python("print('loud')", attempt="attempt-2", limits=Limits(stream_output=True)))
        recorder.wait_for(lambda update: isinstance(update, LinePrinted))
    assert recorder.lines == ["loud"]


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


def test_worker_death_before_the_start_leaves_no_process(state: Path, tmp_path: Path) -> None:
    code = f"import os; os.mkdir({str(tmp_path / 'once')!r})"
    dying_worker(state, "before", code)
    local = runtime(state)
    with recording(local) as recorder:
        assert recorder.next_list() == []
        local.start(python(code))
        recorder.wait_for_phase(Phase.SUCCEEDED)


def test_job_of_a_dead_worker_is_adopted(state: Path, tmp_path: Path) -> None:
    code = f"import os; os.mkdir({str(tmp_path / 'once')!r}); import time; time.sleep(60)"
    dying_worker(state, "after", code)
    appears(tmp_path / "once")
    local = runtime(state)
    with recording(local) as recorder:
        [found] = recorder.next_list()
        assert (found.phase, found.worker) == (Phase.RUNNING, "w")
        assert local.start(python(code)) == found == local.find("attempt-1")
        assert local.find("attempt-2") is None
        os.killpg(int(found.pid), signal.SIGTERM)
        ended = recorder.wait_for_phase(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == "Terminated"


def test_exit_code_is_known_if_no_worker_was_running(state: Path) -> None:
    dying_worker(state, "after", "raise SystemExit(3)")
    appears(state / POOL / "attempt-1" / "exit")
    with recording(runtime(state)) as recorder:
        [found] = recorder.next_list()
    assert found.phase is Phase.FAILED
    assert found.cause
    assert "code 3" in found.cause.message


def test_job_killed_with_its_shell_is_lost(state: Path) -> None:
    local = runtime(state)
    with recording(local) as recorder:
        job = local.start(python("import time; time.sleep(60)"))
        recorder.wait_for(lambda update: isinstance(update, JobChanged) and update.job.started)
        os.killpg(int(job.pid), signal.SIGKILL)
        ended = recorder.wait_for_phase(Phase.FAILED)
    assert ended.cause
    assert ended.cause.code == "Lost"


def test_program_runs_on_if_its_shell_is_killed(state: Path) -> None:
    local = runtime(state)
    with recording(local) as recorder:
        job = local.start(
            python(
                "print('up', flush=True); import time; time.sleep(60)",
                limits=Limits(stream_output=True),
            )
        )
        recorder.wait_for(lambda update: update == LinePrinted("attempt-1", "up"))
        os.kill(int(job.pid), signal.SIGKILL)
        with suppress(ChildProcessError):  # the runtime has let the system forget it
            os.waitpid(int(job.pid), 0)
        assert local.start(python("")).phase is Phase.RUNNING
        local.delete(job)
        recorder.wait_for(lambda update: update == JobVanished("attempt-1"))


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
    return job_spec(*command, attempt=f"attempt-{number}")


def test_attempt_is_started_once_if_workers_die(state: Path, tmp_path: Path) -> None:
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
