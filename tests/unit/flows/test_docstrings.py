"""Descriptions of parameters; more docstrings are compared with Prefect in the parity test."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.flows.docstrings import parameter_descriptions


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        (None, {}),
        ("Only a summary.", {}),
        ("Sum.\n\nArgs:\n    a: One.\n    b: Two.", {"a": "One.", "b": "Two."}),
        ("\n    Sum.\n\n    Arguments:\n      a (int): One\n        more.", {"a": "One\nmore."}),
        ("Sum.\n\nArgs:\n    a: 1.\n\n        2.\n\nReturns:\n    b: No.", {"a": "1.\n\n2."}),
        ("Sum.\nArgs:\n    a: No empty line above.", {}),
        ("Args:\n\n    a: An empty line below.", {}),
        ("Args:\na: Not indented.", {}),
        ("Sum.\n\nArgs:\n    no colon\n    a: One.", {"a": "One."}),
        ("```\n\nArgs:\n    a: In a fence.\n```", {}),
        ("Raises:\n    a: No.\n\nParams:\n    a: One.", {"a": "One."}),
    ],
)
def test_reads_parameter_descriptions(docstring: str | None, expected: dict[str, str]) -> None:
    assert parameter_descriptions(docstring) == expected


@given(st.lists(st.sampled_from(["Args:", "  a: x", "    b", "c:", "", "```", "Note: y"])))
def test_accepts_any_docstring(lines: list[str]) -> None:
    for name, description in parameter_descriptions("\n".join(lines)).items():
        assert name == name.strip()
        assert not description.endswith("\n")
