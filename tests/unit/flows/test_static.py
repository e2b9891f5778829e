"""Static reading of flows; the integration tests compare the schemas with Prefect's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import NotStatic
from deployctl.flows.static import FlowNotFound, Module, NotAFlow, read_flow

FLOW = '''
from enum import Enum
from prefect import flow

class Color(Enum):
    RED = "red"

@flow(name="ETL")
def run_all(color: Color = Color.RED, *days: int):
    """Runs all.

    Args:
        color: Which one.
    """
'''


def module(folder: Path, source: str) -> Module:
    file = folder / "flows.py"
    file.write_text(source, encoding="utf-8")
    return Module(file)


def test_reads_flow_without_running_it(tmp_path: Path) -> None:
    source = FLOW + "\nraise SystemExit\n"
    assert read_flow(module(tmp_path, source), "run_all") == FlowMetadata(
        name="ETL",
        description="Runs all.\n\nArgs:\n    color: Which one.",
        version=hashlib.md5(source.encode()).hexdigest(),
        parameter_schema={
            "title": "Parameters",
            "type": "object",
            "properties": {
                "color": {
                    "$ref": "#/definitions/Color",
                    "default": "red",
                    "description": "Which one.",
                    "position": 0,
                    "title": "color",
                },
                "days": {
                    "default": [],
                    "items": {"type": "integer"},
                    "position": 1,
                    "title": "days",
                    "type": "array",
                },
            },
            "definitions": {"Color": {"enum": ["red"], "title": "Color", "type": "string"}},
        },
    )


def test_masks_secret_default(tmp_path: Path) -> None:
    source = (
        "from prefect import flow\nfrom pydantic import SecretStr\n"
        "@flow\ndef f(key: SecretStr = SecretStr('hunter2')): ...\n"
    )
    assert "hunter2" not in repr(read_flow(module(tmp_path, source), "f"))


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("DateTime", {"format": "date-time", "type": "string"}),
        ("NonNegativeFloat", {"minimum": 0.0, "type": "number"}),
        ("NonNegativeInteger", {"minimum": 0, "type": "integer"}),
        ("PositiveInteger", {"exclusiveMinimum": 0, "type": "integer"}),
    ],
)
def test_knows_the_scalar_types_of_prefect(
    tmp_path: Path, name: str, schema: dict[str, object]
) -> None:
    """The schemas of Prefect 3.4.25 and 3.9.1."""
    source = f"from prefect import flow, types as t\n@flow\ndef f(a: t.{name}): ...\n"
    found = read_flow(module(tmp_path, source), "f").parameter_schema["properties"]["a"]
    assert found == {**schema, "position": 0, "title": "a"}


def test_reads_byte_order_mark_and_other_encodings(tmp_path: Path) -> None:
    for prefix, encoding in (("", "utf-8-sig"), ("# coding: latin-1\n", "latin-1")):
        file = tmp_path / "flows.py"
        text = f"{prefix}from prefect import flow\n@flow\ndef f(a='ä'): ...\n"
        file.write_bytes(text.encode(encoding))
        schema = read_flow(Module(file), "f").parameter_schema
        assert schema["properties"]["a"]["default"] == "ä"


def test_missing_flow_error_lists_known_names(tmp_path: Path) -> None:
    source = "from prefect import flow\nclass C:\n    @flow\n    def m(self): ...\ndef g(): ...\n"
    read = module(tmp_path, source)
    with pytest.raises(FlowNotFound) as caught:
        read_flow(read, "f")
    assert caught.value.known == ("C", "g")
    with pytest.raises(FlowNotFound) as caught:
        read_flow(read, "C.n")
    assert caught.value.known == ("C.m",)


@pytest.mark.parametrize("path", ["g", "C", "C.plain"])
def test_rejects_what_is_not_a_flow(tmp_path: Path, path: str) -> None:
    source = "def g(): ...\nclass C:\n    def plain(self): ...\n"
    with pytest.raises(NotAFlow):
        read_flow(module(tmp_path, source), path)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("@flow\ndef f(a: pd.DataFrame): ...", "the name 'pd'"),
        ("@flow\ndef f(a: Model): ...\nclass Model: ...", "'Model' is defined after its use"),
        ("import os\n@flow\ndef f(a=os.getcwd()): ...", r"the value of 'os.getcwd\(\)'"),
        ("@other\n@flow\ndef f(): ...", "the name 'other'"),
        ("import other\n@other.a\n@other.b\ndef f(): ...", "several decorators"),
        ("import other\n@other.thing\ndef f(): ...", "what 'other.thing' returns"),
        ("@flow(retry=1)\ndef f(): ...", r"the arguments of 'flow\(retry=1\)'"),
        ("@flow(name=3)\ndef f(): ...", "must be strings"),
        ("@flow(name='a/b')\ndef f(): ...", "characters that Prefect rejects"),
        ("@flow\ndef f(_a): ...", "a parameter named '_a'"),
        ("@flow\ndef f(model_dump): ...", "a parameter named 'model_dump'"),
        ("@flow\ndef f(wait_for): ...", "a parameter named 'wait_for'"),
        ("@flow\ndef f(a: 'list['): ...", "is not an expression"),
        ("try:\n    import x\n    @flow\n    def f(): ...\nexcept: ...", "what 'f' refers to"),
        ("from other import f", "what 'f' refers to"),
        ("@flow\ndef f(a: list[1]): ...", "the schema of the type '1'"),
        ("@flow\ndef f(a=1 / 0): ...", "the value of '1 / 0'"),
        (
            "class C:\n    @classmethod\n    @flow\n    def f(cls): ...\nf = C.f",
            "what 'f' refers to",
        ),
    ],
)
def test_names_what_is_not_static(tmp_path: Path, source: str, reason: str) -> None:
    with pytest.raises(NotStatic, match=reason):
        read_flow(module(tmp_path, f"from prefect import flow\n{source}\n"), "f")


def test_evaluates_long_expression_quickly(tmp_path: Path) -> None:
    source = f"from prefect import flow\n@flow\ndef f(a={' + '.join(['1'] * 90)}): ...\n"
    schema = read_flow(module(tmp_path, source), "f").parameter_schema
    assert schema["properties"]["a"]["default"] == 90


def test_suppresses_warnings_about_user_code(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    module(tmp_path, "PATTERN = '\\d'\n")
    assert list(recwarn) == []
