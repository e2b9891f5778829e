"""`deployctl init` writes a file that `validate` accepts, and replaces none."""

from __future__ import annotations

import json
from pathlib import Path

from deployctl.project.schema import json_schema
from tests.support.in_process import run_in_process
from tests.support.project import FLOW


def test_writes_file_and_schema_and_replaces_none(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOW)
    env = {"HOME": str(tmp_path)}
    done = run_in_process(["init", "--output", "json"], cwd=tmp_path, env=env)
    assert done.code == 0, done.stderr
    output = json.loads(done.stdout)
    assert output["files"] == ["prefect.yaml", "prefect.schema.json"]
    assert (output["recipe"], output["flows"]) == ("process", ["flows.py:hello"])
    assert json.loads((tmp_path / "prefect.schema.json").read_text()) == json_schema()
    assert run_in_process(["validate", "--strict"], cwd=tmp_path, env=env).code == 0
    before = (tmp_path / "prefect.yaml").read_text()
    again = run_in_process(["init", "--recipe", "docker"], cwd=tmp_path, env=env)
    assert (again.code, "exists already" in again.stderr) == (64, True)
    assert (tmp_path / "prefect.yaml").read_text() == before
