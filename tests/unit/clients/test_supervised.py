"""Starting supervised programs; the process runtime's tests cover restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.clients import supervised


def test_reports_error_of_shell_when_program_cannot_start(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with (
        supervised.lock_folder(tmp_path) as lock,
        pytest.raises(supervised.NotStarted, match=str(missing)),
    ):
        supervised.launch(lock, tmp_path, ["/bin/true"], cwd=missing, env={})
    assert supervised.inspect_process(tmp_path) == supervised.ProcessStatus(None, alive=False)


def test_program_that_exits_at_once_has_started(tmp_path: Path) -> None:
    with supervised.lock_folder(tmp_path) as lock:
        pid = supervised.launch(lock, tmp_path, ["/bin/true"], cwd=tmp_path, env={})
    assert supervised.inspect_process(tmp_path).pid == pid
    while not supervised.reap(pid):
        pass


@pytest.mark.parametrize("content", ["", "\0\0\0\0\0"])
def test_program_with_files_emptied_by_power_loss_has_ended(tmp_path: Path, content: str) -> None:
    for name in ("lock", "pid", "exit"):
        (tmp_path / name).write_text(content)
    status = supervised.inspect_process(tmp_path)
    assert (status.pid, status.alive, status.exit_code) == (0, False, None)
