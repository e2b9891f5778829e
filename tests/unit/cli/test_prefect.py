"""The `prefect` of the image: what the official chart and hooks call, and what else to use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deployctl import __version__
from deployctl.cli.prefect import translate


@pytest.mark.parametrize(
    ("arguments", "translated"),
    [
        ("worker start --type kubernetes --pool p", "worker start --type kubernetes --pool p"),
        ("work-pool inspect p", "work-pool inspect p"),
        ("work-pool update p --base-job-template f", "work-pool update p --base-job-template f"),
        ("--no-prompt deploy --all", "--no-prompt deploy --all"),
        ("deploy -n flow/name", "deploy -n flow/name"),
        ("deploy --no-prompt --all", "deploy --no-prompt --all"),
        ("version", "--version"),
        ("--version", "--version"),
    ],
)
def test_known_command_becomes_that_of_deployctl(arguments: str, translated: str) -> None:
    assert translate(arguments.split()) == translated.split()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("deployment run f/d", "Use deployctl run, or an image with Prefect."),
        ("deployment ls", "Use deployctl status, or an image with Prefect."),
        ("flow-run execute", "Use deployctl status, or an image with Prefect."),
        ("server start", "Use deployctl dev, or"),
        ("--no-prompt cloud login", "no `prefect cloud`"),
        ("", "this image has no `prefect`"),
        ("block register", "Use an image with Prefect."),
    ],
)
def test_other_command_says_what_to_use(arguments: str, shown: str) -> None:
    found = translate(arguments.split())
    assert isinstance(found, str)
    assert shown in found


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [(["version"], 0, f"deployctl {__version__}"), (["cloud", "login"], 64, "error: this image")],
)
def test_runs_as_a_program(arguments: list[str], code: int, text: str) -> None:
    command = [sys.executable, "-m", "deployctl.cli.prefect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert text in done.stdout + done.stderr
