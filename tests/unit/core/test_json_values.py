"""JSON values and paths into them."""

from __future__ import annotations

from functools import reduce
from operator import getitem

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import (
    Json,
    JsonPath,
    canonical_json,
    digest,
    format_path,
    leaves,
    same_json,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("name",), "name"),
        (("deployments", 0, "work_pool", "name"), "deployments[0].work_pool.name"),
        ((2, "x"), "[2].x"),
    ],
)
def test_formats_path_as_python_would_write_it(path: JsonPath, text: str) -> None:
    assert format_path(path) == text


@given(json_values)
def test_leaf_is_at_its_path(value: Json) -> None:
    for path, leaf in leaves(value):
        assert reduce(getitem, path, value) is leaf


def test_digest_ignores_only_key_order() -> None:
    assert canonical_json({"a": 1, "b": [1, 2]}) == canonical_json({"b": [1, 2], "a": 1})
    assert digest({"b": [1, 2]}) != digest({"b": [2, 1]})
    assert digest({"a": 1}) != digest({"a": "1"})


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": [1, "x", None]}, {"a": [1, "x", None]}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (1, 1.0, False),
        (1, True, False),
        (0.0, False, False),
        ([{"a": 1}], [{"a": True}], False),
        (1e16, 10**16, True),
        (-1e300, int(-1e300), True),
        (1e15, 10**15, False),
        ("1", 1, False),
        ([1], [1, 2], False),
    ],
)
def test_same_json_distinguishes_types(one: Json, other: Json, same: bool) -> None:
    assert same_json(one, other) is same
    assert same_json(other, one) is same


@given(json_values, json_values)
def test_same_json_agrees_with_canonical_text(one: Json, other: Json) -> None:
    assert same_json(one, one)
    assert same_json(one, other) == (canonical_json(one) == canonical_json(other))
