"""What a command may load: a slow start is paid by every CI job and every hook."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, sys
sys.argv = ["deployctl", *json.loads(sys.argv[1])]
from deployctl.cli.main import main
try:
    main()
except SystemExit:
    pass
print("loaded:" + json.dumps(sorted(sys.modules)))
"""


def loaded_by(*args: str, cwd: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout.rpartition("loaded:")[2]))


OF_THE_WORKER = {"docker", "kubernetes", "http.server", "prometheus_client"}


@pytest.mark.parametrize("line", ["--version", "--help", "worker --help"])
def test_version_and_help_load_no_heavy_library(line: str, tmp_path: Path) -> None:
    heavy = {"httpx", "ruamel.yaml", "yaml", "jsonschema", "croniter"} | OF_THE_WORKER
    assert not heavy & loaded_by(*line.split(), cwd=tmp_path)


def test_a_plan_loads_nothing_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    (tmp_path / "prefect.yaml").write_text(
        "deployments: [{name: d, entrypoint: a.py:f, work_pool: {name: p}}]\n"
    )
    loaded = loaded_by("plan", "--api-url", "http://127.0.0.1:1/api", cwd=tmp_path)
    assert "httpx" in loaded
    assert not OF_THE_WORKER & loaded
    assert "deployctl.app.deploying.image_builders" not in loaded
