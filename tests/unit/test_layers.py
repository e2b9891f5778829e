"""The rooms of the house stand one above the other, and only `clients` knows the outside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import deployctl

PACKAGE = Path(deployctl.__file__).parent
ROOMS = (
    "cli > app > deploy | worker > manifests > jobs > steps > images > flows > project > templating"
    " > api > clients > core"
)
HEIGHT = {
    room: -level for level, rooms in enumerate(ROOMS.split(" > ")) for room in rooms.split(" | ")
}
OUTSIDE = {"httpx", "docker", "kubernetes", "subprocess"}
RUN_BY_THE_PROJECTS_OWN_PYTHON = "deployctl.flows.probe"


def imports(module: str, source: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Every module that the source imports, wherever in the text, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - is_package
                parents = module.split(".")[:-up] if up else module.split(".")
                base = ".".join([*parents, *([base] if base else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def room_of(module: str) -> str | None:
    """The room that a module stands in; None outside the package and for its own two files."""
    package, _, inside = module.partition(".")
    room = inside.partition(".")[0]
    return room if package == "deployctl" and room in HEIGHT else None


def wrong_imports(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What this module must not import, as `line: name`."""
    here = room_of(module)
    wrong = []
    for line, name in imports(module, source, is_package=is_package):
        there = room_of(name)
        library = name.partition(".")[0]
        upward = here and there and here != there and HEIGHT[there] >= HEIGHT[here]
        outside = library in OUTSIDE and here != "clients"
        prefect = library == "prefect" and module != RUN_BY_THE_PROJECTS_OWN_PYTHON
        if upward or outside or prefect:
            wrong.append(f"{line}: {name}")
    return wrong


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_module_imports_only_from_its_own_room_and_from_below(path: Path) -> None:
    is_package = path.name == "__init__.py"
    source = path.read_text(encoding="utf-8")
    assert wrong_imports(module_name(path), source, is_package=is_package) == []


def test_every_folder_is_a_room_of_the_house() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts[:1] for path in PACKAGE.rglob("*.py")}
    assert {parts[0] for parts in folders if parts} <= HEIGHT.keys()


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("deployctl.core.x", "from deployctl.api import calls", ["1: deployctl.api.calls"]),
        ("deployctl.core.x", "import deployctl.cli.main", ["1: deployctl.cli.main"]),
        ("deployctl.core.x", "from deployctl import api", ["1: deployctl.api"]),
        ("deployctl.core.x", "from ..api import calls", ["1: deployctl.api.calls"]),
        ("deployctl.core.x", "from .. import api", ["1: deployctl.api"]),
        ("deployctl.deploy.x", "from deployctl.worker import y", ["1: deployctl.worker.y"]),
        ("deployctl.worker.x", "from deployctl.deploy import y", ["1: deployctl.deploy.y"]),
        ("deployctl.api.x", "def f():\n    import httpx", ["2: httpx"]),
        ("deployctl.app.x", "from kubernetes import client", ["1: kubernetes.client"]),
        ("deployctl.steps.x", "import subprocess as s", ["1: subprocess"]),
        ("deployctl.flows.x", "import prefect", ["1: prefect"]),
        ("deployctl.clients.x", "import prefect.client", ["1: prefect.client"]),
        ("deployctl.flows.probe", "import httpx", ["1: httpx"]),
        ("deployctl.__main__", "import docker", ["1: docker"]),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str, wrong: list[str]) -> None:
    assert wrong_imports(module, source) == wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("deployctl.api.x", "from deployctl.core.json_values import Json"),
        ("deployctl.api.x", "from deployctl.api.calls import Talk"),
        ("deployctl.api.x", "from .talk import Talk"),
        ("deployctl.deploy.x", "from deployctl import __version__"),
        ("deployctl.clients.http", "import httpx, subprocess"),
        ("deployctl.flows.probe", "from prefect import Flow"),
        ("deployctl.__main__", "from deployctl.cli.main import main"),
        ("deployctl.flows.x", "import prefectural"),
    ],
)
def test_a_right_import_is_left_alone(module: str, source: str) -> None:
    assert wrong_imports(module, source) == []


def test_a_package_resolves_its_relative_imports_from_itself() -> None:
    assert wrong_imports("deployctl.core", "from . import values", is_package=True) == []
    assert wrong_imports("deployctl.core", "from .. import api", is_package=True) == [
        "1: deployctl.api"
    ]
