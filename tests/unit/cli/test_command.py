"""What a command shows of an error, when it is asked where that arose."""

from __future__ import annotations

import pytest

from deployctl.cli.command import run_command
from deployctl.cli.exit import Exit
from deployctl.cli.render import Format
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import register_secrets


def fails(expected: bool) -> None:
    try:
        raise ValueError("Bearer rosebud-77")
    except ValueError as error:
        if expected:
            raise DeployctlError("it did not work") from error
        raise


@pytest.mark.parametrize("expected", [True, False])
def test_a_traceback_shows_no_secret(capsys: pytest.CaptureFixture[str], expected: bool) -> None:
    register_secrets(["rosebud-77"])
    with pytest.raises(Exit) as ended, run_command("plan", Format.HUMAN, show_traceback=True):
        fails(expected)
    assert ended.value.code == 1
    shown = capsys.readouterr().err
    assert "in fails" in shown
    assert "ValueError: Bearer ********" in shown
    assert "rosebud" not in shown
