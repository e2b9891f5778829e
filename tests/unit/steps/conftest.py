"""Where the steps of a test run, and what it hears of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from deployctl.steps.context import StepContext

ENVIRON = {"PATH": "/usr/bin:/bin", "WHO": "world"}


@pytest.fixture
def lines() -> list[tuple[str, str]]:
    """What steps have printed, each line with the name of its step."""
    return []


@pytest.fixture
def context(tmp_path: Path, lines: list[tuple[str, str]]) -> StepContext:
    return StepContext(
        tmp_path, ENVIRON, sys.executable, lambda name, line: lines.append((name, line))
    )
