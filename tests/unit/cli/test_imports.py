"""Modules that commands import. A slow start costs time in every CI job and every hook."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployctl import cli

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


def modules_loaded_by(*args: str, cwd: Path) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(args)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(result.stdout.rpartition("loaded:")[2]))


WORKER_LIBRARIES = {"docker", "kubernetes", "http.server", "prometheus_client"}


@pytest.mark.parametrize("line", ["--version", "--help", "worker --help"])
def test_version_and_help_load_no_heavy_library(line: str, tmp_path: Path) -> None:
    heavy = {"httpx", "ruamel.yaml", "yaml", "jsonschema", "croniter", "rich"} | WORKER_LIBRARIES
    assert not heavy & modules_loaded_by(*line.split(), cwd=tmp_path)


def test_plan_loads_no_library_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
    (tmp_path / "prefect.yaml").write_text(
        "deployments: [{name: d, entrypoint: a.py:f, work_pool: {name: p}}]\n"
    )
    loaded = modules_loaded_by("plan", "--api-url", "http://127.0.0.1:1/api", cwd=tmp_path)
    assert "httpx" in loaded
    assert not WORKER_LIBRARIES & loaded
    assert "deployctl.app.deploying.image_builders" not in loaded


def cli_imports(path: Path) -> set[str]:
    """The modules of the command line that a module imports, anywhere in its text."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("deployctl.cli"):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= names & MODULES.keys() or {str(node.module)}
    return imported


CLI = Path(cli.__file__).parent
MODULES = {
    ".".join(("deployctl", "cli", *path.relative_to(CLI).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in CLI.rglob("*.py")
}


def test_cli_has_no_import_cycle() -> None:
    graph = {module: cli_imports(path) for module, path in MODULES.items()}
    assert graph["deployctl.cli.plan"] >= {"deployctl.cli.command", "deployctl.cli.render.plan"}
    graphlib.TopologicalSorter(graph).prepare()
