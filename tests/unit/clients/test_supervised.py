"""Programs whose starter need not live, as far as one start shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.clients import supervised


def test_a_program_that_cannot_begin_is_told_with_what_the_shell_said(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with (
        supervised.lock_folder(tmp_path) as lock,
        pytest.raises(supervised.NotStarted, match=str(nowhere)),
    ):
        supervised.launch(lock, tmp_path, ["/bin/true"], cwd=nowhere, env={})
    assert supervised.inspect_process(tmp_path) == supervised.ProcessStatus(None, alive=False)


def test_a_program_that_ends_at_once_has_begun(tmp_path: Path) -> None:
    with supervised.lock_folder(tmp_path) as lock:
        pid = supervised.launch(lock, tmp_path, ["/bin/true"], cwd=tmp_path, env={})
    assert supervised.inspect_process(tmp_path).pid == pid
    while not supervised.reap(pid):
        pass


@pytest.mark.parametrize("left", ["", "\0\0\0\0\0"])
def test_a_program_whose_notes_a_loss_of_power_took_has_begun_and_ended(
    tmp_path: Path, left: str
) -> None:
    for name in ("lock", "pid", "exit"):
        (tmp_path / name).write_text(left)
    sight = supervised.inspect_process(tmp_path)
    assert (sight.pid, sight.alive, sight.exit_code) == (0, False, None)
