"""Constants and types are followed to other modules, and to the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deployctl.flows.names import NotStatic
from deployctl.flows.project_modules import ProjectModules
from deployctl.flows.static import Module, read_flow

FILES = {
    "settings.py": "NAME = 'etl'\nLIMITS = [1, 2]\nCHANGED = [1]\nCHANGED.append(2)\n"
    "LOOKUP = {'a': {'b': 3}}\nclass Conf:\n    SIZE = 7\n    class In:\n        X = 'x'\n",
    "pkg/__init__.py": "from .inner import DEEP\nOWN = 'own'\n",
    "pkg/inner.py": "from settings import NAME\nDEEP = NAME + '-deep'\n",
    "flows/beside.py": "HERE = 'beside'\nfrom .sub.leaf import LEAF\n",
    "flows/sub/leaf.py": "LEAF = 4\n",
    "one.py": "from two import A\n",
    "two.py": "from one import A\n",
    "env.py": "import os\nLEVEL = os.getenv('LEVEL', 'low')\n",
    "loads.py": "from dotenv import load_dotenv\nload_dotenv()\nX = 1\n",
    "kinds.py": "from enum import Enum\nclass Kind(Enum):\n    A = 'a'\nIds = list[int]\n",
    "broken.py": "X = (\n",
    "src/lib/__init__.py": "",
    "src/lib/values.py": "V = 9\n",
    "json.py": "X = 1\n",
}


def read(folder: Path, head: str, signature: str, environ: Mapping[str, str] | None = None) -> Any:
    """The schema of the first parameter of a flow in `flows/etl.py`."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    file = folder / "flows" / "etl.py"
    file.write_text(f"from prefect import flow\n{head}\n@flow\ndef f({signature}): ...\n")
    modules = ProjectModules([folder, folder / "src"], environ or {})
    schema = read_flow(Module(file, modules), "f").parameter_schema
    return schema["properties"]["a"]


@pytest.mark.parametrize(
    ("head", "expression", "value"),
    [
        ("from settings import NAME", "NAME", "etl"),
        ("from settings import NAME as N", "f'{N.upper()}-{len(N):02d}'", "ETL-03"),
        ("import settings", "settings.NAME", "etl"),
        ("import settings as s", "s.Conf.SIZE + 1", 8),
        ("from settings import Conf", "Conf.In.X", "x"),
        ("from settings import LIMITS", "LIMITS", [1, 2]),
        ("from settings import LOOKUP", "LOOKUP['a']['b']", 3),
        ("from settings import LOOKUP", "LOOKUP.get('z', 0)", 0),
        ("import pkg", "pkg.OWN", "own"),
        ("import pkg.inner", "pkg.inner.DEEP", "etl-deep"),
        ("from pkg import DEEP", "DEEP", "etl-deep"),
        ("from pkg import inner", "inner.DEEP", "etl-deep"),
        ("from beside import HERE", "HERE", "beside"),
        ("from .beside import HERE", "HERE", "beside"),
        ("from . import beside", "beside.HERE", "beside"),
        ("from beside import LEAF", "LEAF", 4),
        ("from lib.values import V", "V", 9),
        ("from kinds import Kind", "Kind.A", "a"),
        ("from pathlib import Path", "Path(__file__).parent.name", "flows"),
        ("from pathlib import Path", "str(Path(__file__).parents[1] / 'x').endswith('/x')", True),
        ("import os", "os.path.basename(__file__)", "etl.py"),
        ("import os", "os.getenv('SET')", "7"),
        ("import os", "int(os.environ['SET'])", 7),
        ("import os", "os.environ.get('UNSET', 'x')", "x"),
        ("from os import getenv", "getenv('UNSET') or 'y'", "y"),
        ("from env import LEVEL", "LEVEL", "low"),
        ("", "'a' if 1 < 2 else 'b'", "a"),
        ("", "float('inf')", None),
        ("L = {3, 1, 2}", "L", [1, 2, 3]),
    ],
)
def test_follows_constants(tmp_path: Path, head: str, expression: str, value: object) -> None:
    assert read(tmp_path, head, f"a={expression}", {"SET": "7"})["default"] == value


def test_follows_types(tmp_path: Path) -> None:
    head = "import kinds\nfrom kinds import Kind, Ids"
    assert read(tmp_path, head, "a: Kind")["$ref"] == "#/definitions/Kind"
    assert read(tmp_path, head, "a: kinds.Kind | None")["anyOf"][0] == {
        "$ref": "#/definitions/Kind"
    }
    assert read(tmp_path, head, "a: Ids")["items"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("head", "expression"),
    [
        ("from settings import CHANGED", "CHANGED"),
        ("from settings import LIMITS\nLIMITS.append(3)", "LIMITS"),
        ("import settings\nsettings.NAME = 'x'", "settings.NAME"),
        ("from settings import Conf\nConf.SIZE = 8", "Conf.SIZE"),
        ("from one import A", "A"),
        ("from gone import A", "A"),
        ("from settings import GONE", "GONE"),
        ("from broken import X", "X"),
        ("import json", "json.X"),
        ("import os", "os.environ['UNSET']"),
        ("import os\nfrom dotenv import load_dotenv\nload_dotenv()", "os.getenv('SET')"),
        ("import os\nos.environ['SET'] = '8'", "os.getenv('SET')"),
        ("import loads\nimport os", "os.getenv('SET')"),
        ("A = A2 = 'x'\nimport os", "os.path.abspath('x')"),
        ("", "'x' * 10 ** 9"),
        ("", "10 ** 10 ** 10"),
        ("", "str({'a', 'b'})"),
        ("", "open('x').read()"),
    ],
)
def test_leaves_uncertain_values_to_an_import(tmp_path: Path, head: str, expression: str) -> None:
    with pytest.raises(NotStatic):
        read(tmp_path, head, f"a={expression}", {"SET": "7"})
