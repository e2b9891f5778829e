"""YAML that is read back as it was, with comments where they belong."""

from __future__ import annotations

import pytest
import yaml

from deployctl.project.yaml_text import comment_lines, item_lines, mapping_lines, yaml_lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": "yes"}, "a: 'yes'"),
        ({"a": "1:30"}, "a: '1:30'"),
        ({"a": "0777"}, "a: '0777'"),
        ({"a": "ünï"}, "a: ünï"),
        ({"a": "x\ny\n"}, "a: |\n  x\n  y"),
        ({"a": ["b", {"c": []}]}, "a:\n  - b\n  - c: []"),
    ],
)
def test_lines_of_values(value: object, text: str) -> None:
    assert "\n".join(yaml_lines(value)) == text
    assert yaml.safe_load(text) in (value, {"a": "x\ny"})


def test_comments_stand_above_their_keys_and_those_of_absent_keys_last() -> None:
    lines = mapping_lines({"a": 1, "b": 2}, {"b": ["about b"], "c": ["about c"]})
    assert lines == ["a: 1", "# about b", "b: 2", "# about c"]
    assert item_lines(lines, ["above"])[:3] == ["# above", "- a: 1", "  # about b"]


def test_comment_is_one_line_whatever_it_says() -> None:
    assert comment_lines(["a\nb: 1\x85\u2028c\x00"]) == ["# a b: 1 c"]


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_line_breaks_of_unicode_survive_in_an_indented_item(separator: str) -> None:
    value = {"a": f"one\ntwo{separator}three\n"}
    assert yaml.safe_load("\n".join(item_lines(yaml_lines(value)))) == [value]
