"""The context in which a command runs."""

from __future__ import annotations

import pytest

from deployctl.cli.context import command_context
from deployctl.cli.exit import Exit
from deployctl.cli.options import OutputFormat, OutputOptions
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import register_secrets


def fail(expected: bool) -> None:
    try:
        raise ValueError("Bearer rosebud-77")
    except ValueError as error:
        if expected:
            raise DeployctlError("cannot do it") from error
        raise


@pytest.mark.parametrize("expected", [True, False])
def test_masks_secrets_in_traceback(capsys: pytest.CaptureFixture[str], expected: bool) -> None:
    register_secrets(["rosebud-77"])
    options = OutputOptions(OutputFormat.HUMAN, traceback=True)
    with pytest.raises(Exit) as exited, command_context("plan", options):
        fail(expected)
    assert exited.value.code == 1
    shown = capsys.readouterr().err
    assert "in fail" in shown
    assert "ValueError: Bearer ********" in shown
    assert "rosebud" not in shown
