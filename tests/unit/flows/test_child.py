"""The child process keeps apart what only it needs: pydantic, and code of the user."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import deployctl

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
