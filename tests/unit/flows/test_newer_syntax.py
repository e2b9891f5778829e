"""Files in newer syntax are read in part; files that are wrong are not."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from deployctl.flows.names import NotStatic
from deployctl.flows.newer_syntax import parse_in_part
from deployctl.flows.static import Module, read_flow

FLOW = """
from prefect import flow

@flow(name="etl")
def run(
    days: int = 3,
):
    \"\"\"Loads it.

at the margin\"\"\"
    {body}

class After:
    x = 1
"""
ERROR = SyntaxError("invalid syntax")


def read(source: str) -> ast.Module:
    return parse_in_part(source, ERROR)


@pytest.mark.parametrize(
    "body",
    [
        'print(f"{rows["a"]}")',
        "print(f'{chr(10).join(f'{a}' for a in b)}')",
        "type X = int",
        "def inner[T](x: T) -> T: ...",
        "x = t'{days}'",
        "try:\n        pass\n    except ValueError, TypeError:\n        pass",
    ],
)
def test_reads_function_with_newer_syntax_in_its_body(body: str) -> None:
    module = read(FLOW.format(body=body))
    _, function, after = module.body
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function) == "Loads it.\n\nat the margin"
    assert (function.lineno, after.lineno) == (5, 13 + body.count("\n"))


@pytest.mark.parametrize("statement", ["type Ids = list[int]", "class Ids[T]: ...", "Ids = t'x'"])
def test_names_of_newer_statements_are_uncertain(tmp_path: Path, statement: str) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("this Python knows all of the syntax")
    source = f"{statement}\nfrom prefect import flow\n@flow\ndef f(a: Ids, b: int): ...\n"
    (tmp_path / "etl.py").write_text(source)
    with pytest.raises(NotStatic, match="'Ids'"):
        read_flow(Module(tmp_path / "etl.py"), "f")


@pytest.mark.parametrize(
    "source",
    ["def f(:\n", "x = (1\n", "@flow\ndef f():\n    return (\n", "class C\n    pass\n"],
)
def test_wrong_syntax_is_an_error(source: str) -> None:
    with pytest.raises(SyntaxError, match="invalid syntax"):
        read(source)
