"""The child process keeps apart what only it needs: pydantic, and code of the user."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import deployctl
from deployctl.flows.importer import Interpreter, Task, load_flows

ROOT = Path(deployctl.__file__).parent
CHILD = ROOT / "flows" / "child"


def test_only_the_child_imports_pydantic_and_prefect() -> None:
    importing = set()
    for file in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            if {name.partition(".")[0] for name in names} & {
                "pydantic",
                "pydantic_core",
                "prefect",
            }:
                importing.add(file.parent)
    assert importing == {CHILD}


def test_models_of_a_module_that_lacks_a_library_refer_to_each_other(tmp_path: Path) -> None:
    """Its parts are compiled without the postponed annotations of the child's own modules."""
    (tmp_path / "etl.py").write_text(
        "import gone\nfrom prefect import flow\nfrom pydantic import BaseModel\n"
        "class Inner(BaseModel):\n    days: int\nclass Outer(BaseModel):\n    inner: Inner\n"
        "@flow\ndef f(outer: Outer): ...\n"
    )
    task = Task("etl.py:f", tmp_path)
    result = load_flows(Interpreter(sys.executable, {"pydantic": "2"}), [task], 60)[task]
    assert result.metadata is not None
    assert result.metadata.parameter_schema["definitions"].keys() == {"Inner", "Outer"}


def test_command_line_does_not_load_pydantic() -> None:
    code = (
        "import pkgutil, importlib, sys, deployctl\n"
        "for each in pkgutil.walk_packages(deployctl.__path__, 'deployctl.'):\n"
        "    if not each.name.startswith('deployctl.flows.child'):\n"
        "        if not each.name.endswith('__main__'):\n"
        "            importlib.import_module(each.name)\n"
        "sys.exit('pydantic' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
