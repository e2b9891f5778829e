"""Paths into values, as placeholders name them."""

from __future__ import annotations

from typing import Any

import pytest

from deployctl.templating.values import lookup

VALUE: Any = {
    "list": [{"key": "first"}, "last"],
    "years": {"2026": "text", "01": "padded", "-1": "negative"},
    "numbers": {1: "one", -1: "minus one"},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("list[0].key", "first"),
        ("list.1", "last"),
        ("list.-1", "last"),
        ("years.2026", "text"),
        ("years[2026]", "text"),
        ("years.01", "padded"),
        ("years.-1", "negative"),
        ("numbers.1", "one"),
        ("numbers.-1", "minus one"),
    ],
)
def test_number_is_an_index_of_a_list_and_a_key_of_a_mapping(path: str, expected: str) -> None:
    assert lookup(VALUE, path) == expected


@pytest.mark.parametrize(
    "path", ["list.2", "list.--1", "list.key", "years.1", "numbers.01", "numbers.2", "absent"]
)
def test_path_without_a_value_raises(path: str) -> None:
    with pytest.raises(LookupError):
        lookup(VALUE, path)
