"""Running, reading and stopping external programs."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from deployctl.clients import process
from deployctl.clients.process import CompletedProgram, run
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import Interrupted, ProgramError
from tests.support.waiting import until


def python(code: str, folder: Path, **options: object) -> CompletedProgram:
    settings: dict[str, object] = {"cwd": folder, "env": None, "timeout": 30, **options}
    return run([sys.executable, "-c", code], **settings)  # type: ignore[arg-type]


def test_returns_output_and_exit_code(tmp_path: Path) -> None:
    done = python("import sys; print('a'); print('b', file=sys.stderr); sys.exit(3)", tmp_path)
    assert done == CompletedProgram(3, "a\n", "b\n")


def test_passes_lines_on_with_their_stream(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    code = r"""
import os, time
os.write(1, b"one\r\ntw"); time.sleep(0.1)
os.write(1, b"o\n\n"); time.sleep(0.1)
os.write(2, b"three\n"); time.sleep(0.1)
os.write(1, b"last")
"""
    done = python(code, tmp_path, on_line=lambda stream, line: lines.append((stream, line)))
    assert lines == [
        ("stdout", "one"),
        ("stdout", "two"),
        ("stdout", ""),
        ("stderr", "three"),
        ("stdout", "last"),
    ]
    assert done.stdout == "one\r\ntwo\n\nlast"


def test_decodes_split_characters_and_replaces_invalid_bytes(tmp_path: Path) -> None:
    code = "import os, time; os.write(1, b'\\xc3'); time.sleep(0.1); os.write(1, b'\\xa9\\xff')"
    assert python(code, tmp_path).stdout == "é\N{REPLACEMENT CHARACTER}"


def test_large_output_on_both_streams_does_not_block(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('e' * 300_000); sys.stdout.write('o' * 300_000)"
    done = python(code, tmp_path)
    assert (len(done.stdout), len(done.stderr)) == (300_000, 300_000)


def test_passes_input_on_stdin(tmp_path: Path) -> None:
    code = "import sys; print(len(sys.stdin.read()))"
    assert python(code, tmp_path, input="x" * 200_000).stdout == "200000\n"
    assert python(code, tmp_path).stdout == "0\n"


def test_uses_folder_and_environment(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ.get('A'), os.environ.get('HOME'))"
    done = python(code, tmp_path, env={"A": "1"})
    assert done.stdout == f"{tmp_path.resolve()} 1 None\n"


def test_timeout_ends_whole_process_group(tmp_path: Path) -> None:
    code = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("pid").write_text(str(child.pid))
time.sleep(60)
"""
    with pytest.raises(ProgramError, match="took longer than 5 seconds"):
        python(code, tmp_path, timeout=5)
    until(lambda: ended(int((tmp_path / "pid").read_text())))


def test_waits_for_program_that_closed_its_streams(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="took longer"):
        python("import os, time; os.close(1); os.close(2); time.sleep(60)", tmp_path, timeout=1)


def test_interrupted_caller_leaves_no_program_running(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(_: str, line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        python(code, tmp_path, on_line=interrupt)
    until(lambda: ended(pids[0]))


@pytest.mark.parametrize("streams", ["open", "closed"])
def test_cancellation_ends_whole_process_group(tmp_path: Path, streams: str) -> None:
    code = f"""
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path("new").write_text(str(child.pid))
pathlib.Path("new").rename("pid")
if {streams == "closed"}:
    child.kill()
    os.close(1); os.close(2)
time.sleep(60)
"""
    token = CancellationToken()
    pid = tmp_path / "pid"

    def cancel() -> None:
        until(pid.exists)
        token.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Interrupted):
        python(code, tmp_path, cancellation=token)
    canceller.join()
    until(lambda: ended(int(pid.read_text())))


@pytest.mark.parametrize("ignores_sigterm", [False, True])
def test_process_group_has_grace_period_for_cleanup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignores_sigterm: bool
) -> None:
    monkeypatch.setattr(process, "_TERMINATION_GRACE", 3.0 if ignores_sigterm else 60.0)
    child = f"""
import os, pathlib, signal, sys, time
def clean_up(*_):
    pathlib.Path("cleaned").touch()
    if not {ignores_sigterm}: sys.exit()
signal.signal(signal.SIGTERM, clean_up)
print(os.getpid(), flush=True)
while True: time.sleep(1)
"""
    (tmp_path / "child.py").write_text(child)
    code = "import subprocess, sys; subprocess.run([sys.executable, 'child.py'])"
    token = CancellationToken()
    pids: list[int] = []

    def cancel(_: str, line: str) -> None:
        pids.append(int(line))
        token.cancel()

    with pytest.raises(Interrupted):
        python(code, tmp_path, on_line=cancel, cancellation=token)
    assert (tmp_path / "cleaned").exists()
    until(lambda: ended(pids[0]))


@pytest.mark.parametrize(
    ("program", "folder", "message"),
    [
        ("no-such-program", ".", "the program 'no-such-program' was not found"),
        ("python3", "gone", "the folder .* does not exist"),
        ("./text", ".", "could not be started: Permission denied"),
        ("a\0b", ".", "could not be started: embedded null byte"),
    ],
)
def test_program_that_cannot_be_started(
    tmp_path: Path, program: str, folder: str, message: str
) -> None:
    (tmp_path / "text").write_text("not a program")
    with pytest.raises(ProgramError, match=message):
        run([program], cwd=tmp_path / folder, env=None, timeout=5)


def ended(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return True
