"""Merges of two values: what each contributes, and at which position."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deployctl.core.json_values import Json, leaves
from deployctl.project.compose import Node
from deployctl.project.nodes import merge_nodes

SCALARS = st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3)
VALUES = st.recursive(
    SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3)
    ),
    max_leaves=12,
)


class Mark:
    """A position of which only the index counts."""

    def __init__(self, index: int) -> None:
        self.index = index


def node_of(value: Json, index: int) -> Node:
    """A node whose parts and keys all have the position `index`."""
    mark = Mark(index)
    parts: dict[str | int, Node] = {}
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        parts = {key: node_of(each, index) for key, each in pairs}
    keys = {key: Node(key, mark, mark) for key in value} if isinstance(value, dict) else {}
    return Node(value, mark, mark, parts=parts, keys=keys)


@given(VALUES, VALUES)
def test_merge_has_every_value_of_the_override_and_all_else_of_the_base(
    base: Json, override: Json
) -> None:
    merged = merge_nodes(node_of(base, 1), node_of(override, 2))

    def check(merged: Node, base: Json, override: Json) -> None:
        if not (isinstance(base, dict) and isinstance(override, dict)):
            assert merged.value == override
            assert {node.start.index for _, node in merged.walk()} == {2}
            return
        assert merged.value == {key: node.value for key, node in merged.parts.items()}
        assert merged.keys.keys() == merged.parts.keys() == base.keys() | override.keys()
        for key, node in merged.parts.items():
            assert merged.keys[str(key)].start.index == (2 if key in override else 1)
            if key in override and key in base:
                check(node, base[key], override[key])
            else:
                assert node.value == (override if key in override else base)[key]
                assert node.start.index == (2 if key in override else 1)

    check(merged, base, override)
    assert merge_nodes(merged, node_of(override, 3)).value == merged.value


@given(VALUES)
def test_merge_changes_neither_of_its_values(value: Json) -> None:
    base, override = node_of(value, 1), node_of({"a": {"b": 1}}, 2)
    before = list(leaves(value))
    merge_nodes(base, override)
    assert list(leaves(base.value)) == before
    assert override.value == {"a": {"b": 1}}
