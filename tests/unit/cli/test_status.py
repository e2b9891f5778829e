"""`status --env`: the file is read for its server, also if it selects nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.environment import isolated
from tests.support.in_process import run_in_process


@pytest.mark.parametrize("selection", [(), ("--all",), ("daily",), ("--pool", "p")])
def test_reads_the_environment_with_every_selection(
    selection: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "prefect.yaml").write_text("environments: {prod: {}}\ndeployments: []\n")
    command = ["status", *selection, "--env", "prd", "--output", "json"]
    result = run_in_process(command, cwd=tmp_path, env=isolated(tmp_path))
    assert result.code == 1, result.stderr
    assert [each["code"] for each in json.loads(result.stdout)["diagnostics"]] == ["DC140"]
