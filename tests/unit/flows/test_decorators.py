"""Flows that are defined in a `try`, imported, decorated more than once, or made by a call."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.project_modules import ProjectModules
from deployctl.flows.static import Module, NotAFlow, read_flow

WRAPS = (
    "from functools import wraps\n\ndef timed(fn):\n    @wraps(fn)\n    def run(*a):\n"
    "        return fn(*a)\n    return run\n"
)
"""A decorator that keeps the signature."""
NOTIFY = (
    "import functools\n\ndef notify(channel='#a'):\n    def decorate(fn):\n"
    "        @functools.wraps(fn)\n        def run(*a):\n            return fn(*a)\n"
    "        return run\n    return decorate\n"
)
REGISTER = "ALL = []\n\ndef register(item):\n    ALL.append(item)\n    return item\n"
ETL = 'def etl(days: int = 3):\n    """Loads."""\n'
HEAD = "from prefect import flow\n"


def read(folder: Path, **files: str) -> FlowMetadata:
    """Reads the flow `etl` of flows.py; the other files are modules beside it."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    file = folder / "flows.py"
    return read_flow(Module(file, ProjectModules((folder,), {})), "etl")


def seen(flow: FlowMetadata) -> tuple[str, str | None, list[str]]:
    return flow.name, flow.description, list(flow.parameter_schema["properties"])


def digest(folder: Path, name: str) -> str:
    return hashlib.md5((folder / f"{name}.py").read_bytes()).hexdigest()


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


CERTAIN = {
    "in a try": "try:\n" + indented("import json\n@flow\n" + ETL) + "except ImportError: pass\n",
    "in the else of a try": "try: pass\nexcept ValueError: pass\nelse:\n"
    + indented("@flow\n" + ETL),
    "in a with": "import contextlib\nwith contextlib.suppress(Exception):\n"
    + indented("@flow\n" + ETL),
    "in an if that is true": "if True:\n" + indented("@flow\n" + ETL),
    "in the else of the main guard": (
        "if __name__ == '__main__':\n    etl = None\nelse:\n" + indented("@flow\n" + ETL)
    ),
    "under a decorator that returns it": REGISTER + "@register\n@flow\n" + ETL,
    "above one with wraps": WRAPS + "@flow\n@timed\n" + ETL,
    "above one with arguments": NOTIFY + "@flow\n@notify(channel='#b')\n" + ETL,
    "above one that returns the function": REGISTER + "@flow\n@register\n" + ETL,
    "made by the class": "from prefect import Flow\n@Flow\n" + ETL,
    "made by a call": ETL.replace("etl", "run") + "etl = flow(run, name='etl')\n",
    "made by a call with options before": ETL.replace("etl", "run")
    + "etl = flow(name='etl')(run)\n",
}
UNCERTAIN = {
    "in an if of the environment": "import os\nif os.getenv('A'):\n" + indented("@flow\n" + ETL),
    "bound in the handler, too": (
        "try:\n" + indented("@flow\n" + ETL) + "except ImportError:\n    etl = None\n"
    ),
    "after an import that may fail": (
        "try:\n" + indented("import gone\n@flow\n" + ETL) + "except ImportError: pass\n"
    ),
    "after a call that may fail": (
        "import contextlib\nwith contextlib.suppress(OSError):\n"
        + indented("open('x')\n@flow\n" + ETL)
    ),
    "in a loop": "for each in (1, 2):\n" + indented("@flow\n" + ETL),
    "above one without wraps": (
        "def loud(fn):\n    def run(*a):\n        return fn(*a)\n    return run\n@flow\n@loud\n"
        + ETL
    ),
    "above one that returns two things": (
        "def maybe(fn):\n    if fn.__name__ == 'x':\n        return print\n    return fn\n"
        "@flow\n@maybe\n" + ETL
    ),
    "above one that changes the function": (
        "def rename(fn):\n    fn.__name__ = 'x'\n    return fn\n@flow\n@rename\n" + ETL
    ),
    "above one that sets an attribute": (
        "def sign(fn):\n    setattr(fn, '__signature__', None)\n    return fn\n@flow\n@sign\n" + ETL
    ),
    "above one with arguments that is bound again": (
        "def swap(other):\n    def deco(fn):\n        return fn\n    deco = other\n"
        "    return deco\n@flow\n@swap(print)\n" + ETL
    ),
    "above one of a library": "from tenacity import retry\n@flow\n@retry\n" + ETL,
    "under one with wraps": WRAPS + "@timed\n@flow\n" + ETL,
    "made by a call with two arguments": ETL.replace("etl", "run") + "etl = flow(run, 'etl')\n",
}


@pytest.mark.parametrize("case", CERTAIN)
def test_the_text_decides(case: str, tmp_path: Path) -> None:
    source = HEAD + CERTAIN[case]
    flow = read(tmp_path, flows=source)
    assert seen(flow) == ("etl", "Loads.", ["days"])
    assert flow.version == hashlib.md5(source.encode()).hexdigest()


@pytest.mark.parametrize("case", UNCERTAIN)
def test_the_text_does_not_decide(case: str, tmp_path: Path) -> None:
    with pytest.raises(NotStatic):
        read(tmp_path, flows=HEAD + UNCERTAIN[case])


def test_an_imported_flow_is_that_of_its_module(tmp_path: Path) -> None:
    impl = HEAD + "LIMIT = 7\n@flow(name='loads')\ndef run(days: int = LIMIT): ...\n"
    between = "from impl import run\n"
    flow = read(tmp_path, flows="from between import run as etl\n", between=between, impl=impl)
    assert flow.name == "loads"
    assert flow.parameter_schema["properties"]["days"]["default"] == 7
    assert flow.version == digest(tmp_path, "impl")


def test_an_imported_function_is_not_a_flow(tmp_path: Path) -> None:
    with pytest.raises(NotAFlow):
        read(tmp_path, flows="from impl import etl\n", impl="def etl(): ...\n")


def test_a_function_of_another_module_is_made_a_flow(tmp_path: Path) -> None:
    """The name is evaluated here; types, defaults and the version come from the function."""
    impl = "from __future__ import annotations\nDAYS = 2\n" + ETL.replace("3", "DAYS")
    source = HEAD + "from impl import etl as run\nNAME = 'named'\netl = flow(run, name=NAME)\n"
    flow = read(tmp_path, flows=source, impl=impl)
    assert seen(flow) == ("named", "Loads.", ["days"])
    assert flow.parameter_schema["properties"]["days"]["default"] == 2
    assert flow.version == digest(tmp_path, "impl")


def test_the_version_of_a_wrapped_function_is_that_of_its_wrapper(tmp_path: Path) -> None:
    """Prefect hashes the file that the function is compiled from, and that is the wrapper's."""
    flow = read(
        tmp_path, flows=HEAD + "from tools import timed\n@flow\n@timed\n" + ETL, tools=WRAPS
    )
    assert seen(flow) == ("etl", "Loads.", ["days"])
    assert flow.version == digest(tmp_path, "tools")


def test_names_that_only_type_checkers_import_are_not_bound(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        + HEAD
        + "if TYPE_CHECKING:\n    from datetime import date\n@flow\ndef etl(day: date): ...\n"
    )
    with pytest.raises(NotStatic):
        read(tmp_path, flows=source)
