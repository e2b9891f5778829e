"""Packages form layers, modules form no import cycles, and files stay short.

The layers are those of docs/architecture.md. All imports count: those inside functions and under
`TYPE_CHECKING` too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import deployctl

PACKAGE = Path(deployctl.__file__).parent
ROOT = PACKAGE.parent
LAYERS = (
    "cli > app > deploy | worker | manifests > jobs > steps > images > flows > project > templating"
    " > api > clients > core"
)
"""Packages from the top layer to the bottom one; `|` separates packages of the same layer."""
LAYER = {
    package: level
    for level, packages in enumerate(reversed(LAYERS.split(" > ")))
    for package in packages.split(" | ")
}
CLIENTS_ONLY = {"httpx", "docker", "kubernetes", "subprocess"}
"""Libraries that only `deployctl.clients` imports."""
RUN_BY_PROJECT_PYTHON = "deployctl.flows.child.probe"
"""The only module that imports Prefect: the project's own interpreter runs it."""
MAX_LINES = 400
TABLES_OF_CASES = {"tests/support/deployment_cases.py", "tests/support/flow_signatures.py"}
"""Files without logic that may be longer: one entry per test case."""


def imported_names(
    module: str, source: str, *, is_package: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield the line and absolute name of everything that the source imports."""
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


def package_of(module: str) -> str | None:
    """Return the layered package of a module, or None if it belongs to none."""
    root, _, rest = module.partition(".")
    package = rest.partition(".")[0]
    return package if root == "deployctl" and package in LAYER else None


def wrong_imports(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return the forbidden imports of a module as `line: name`."""
    importer = package_of(module)
    wrong = []
    for line, name in imported_names(module, source, is_package=is_package):
        imported = package_of(name)
        library = name.partition(".")[0]
        upward = (
            importer and imported and importer != imported and LAYER[imported] >= LAYER[importer]
        )
        clients_only = library in CLIENTS_ONLY and importer != "clients"
        prefect = library == "prefect" and module != RUN_BY_PROJECT_PYTHON
        if upward or clients_only or prefect:
            wrong.append(f"{line}: {name}")
    return wrong


def import_graph(sources: Mapping[str, str], packages: frozenset[str]) -> dict[str, set[str]]:
    """Map each module to the modules of `sources` that it imports.

    `packages` names the modules that are the `__init__.py` of a package. A name that is no module
    counts as an import of the module that defines it.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        names = (name for _, name in imported_names(module, source, is_package=module in packages))
        graph[module] = {found for name in names if (found := _defining_module(name, sources))}
    return graph


def _defining_module(name: str, sources: Mapping[str, str]) -> str:
    while name and name not in sources:
        name = name.rpartition(".")[0]
    return name


def import_cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others.

    These are the strongly connected components of the graph: two modules belong to the same group
    if each can reach the other. A module that imports itself is a group of one.
    """

    @cache
    def reachable(module: str) -> frozenset[str]:
        seen: set[str] = set()
        queue = [module]
        while queue:
            new = graph[queue.pop()] - seen
            seen |= new
            queue += new
        return frozenset(seen)

    cycles = {
        tuple(sorted(each for each in reachable(module) if module in reachable(each)))
        for module in graph
        if module in reachable(module)
    }
    return sorted(map(list, cycles))


def module_name(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_module_imports_only_its_own_package_and_lower_layers(path: Path) -> None:
    is_package = path.name == "__init__.py"
    source = path.read_text(encoding="utf-8")
    assert wrong_imports(module_name(path), source, is_package=is_package) == []


def test_layers_list_every_package_and_no_other() -> None:
    folders = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/**/*.py")}
    assert folders == set(LAYER)


def test_modules_do_not_import_each_other_in_cycles() -> None:
    paths = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    packages = frozenset(name for name, path in paths.items() if path.name == "__init__.py")
    sources = {name: path.read_text(encoding="utf-8") for name, path in paths.items()}
    assert import_cycles(import_graph(sources, packages)) == []


@pytest.mark.parametrize("folder", ["deployctl", "benchmarks", "scripts", "tests"])
def test_files_are_not_too_long(folder: str) -> None:
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    too_long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert too_long.keys() <= TABLES_OF_CASES, too_long


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
        ("deployctl.flows.child.probe", "import httpx", ["1: httpx"]),
        ("deployctl.__main__", "import docker", ["1: docker"]),
    ],
)
def test_wrong_import_is_reported(module: str, source: str, wrong: list[str]) -> None:
    assert wrong_imports(module, source) == wrong


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("deployctl.api.x", "from deployctl.core.json_values import Json"),
        ("deployctl.api.x", "from deployctl.api.calls import ApiCall"),
        ("deployctl.api.x", "from .calls import ApiCall"),
        ("deployctl.deploy.x", "from deployctl import __version__"),
        ("deployctl.clients.http", "import httpx, subprocess"),
        ("deployctl.flows.child.probe", "from prefect import Flow"),
        ("deployctl.__main__", "from deployctl.cli.main import main"),
        ("deployctl.flows.x", "import prefectural"),
    ],
)
def test_allowed_import_is_not_reported(module: str, source: str) -> None:
    assert wrong_imports(module, source) == []


def test_relative_imports_of_a_package_start_at_the_package() -> None:
    assert wrong_imports("deployctl.core", "from . import retry", is_package=True) == []
    assert wrong_imports("deployctl.core", "from .. import api", is_package=True) == [
        "1: deployctl.api"
    ]


@pytest.mark.parametrize(
    ("sources", "cycles"),
    [
        ({"p.a": "import p.b", "p.b": ""}, []),
        ({"p.a": "import p.b", "p.b": "import p.a"}, [["p.a", "p.b"]]),
        ({"p.a": "from p.b import f", "p.b": "from p.a import g"}, [["p.a", "p.b"]]),
        ({"p.a": "def f():\n    import p.b", "p.b": "import p.a"}, [["p.a", "p.b"]]),
        (
            {"p.a": "if TYPE_CHECKING:\n    from p import b", "p.b": "from . import a"},
            [["p.a", "p.b"]],
        ),
        (
            {"p.a": "import p.b", "p.b": "import p.c", "p.c": "import p.a", "p.d": "import p.a"},
            [["p.a", "p.b", "p.c"]],
        ),
        ({"p": "from p.a import f", "p.a": "from p import f"}, [["p", "p.a"]]),
    ],
)
def test_import_cycles_are_found(sources: dict[str, str], cycles: list[list[str]]) -> None:
    assert import_cycles(import_graph(sources, frozenset({"p"}))) == cycles
