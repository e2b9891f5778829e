"""The context of steps in tests, and the lines that they print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployctl.steps.context import StepContext

ENVIRON = {"PATH": "/usr/bin:/bin", "WHO": "world"}


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    """The lines that steps printed, each with the name of its step."""
    return []


@pytest.fixture
def context(tmp_path: Path, lines: list[tuple[str, str]]) -> StepContext:
    return StepContext(
        tmp_path, ENVIRON, sys.executable, lambda name, line: lines.append((name, line))
    )
