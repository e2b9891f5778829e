"""New nodes from those of files: each value keeps its position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from deployctl.project.compose import Node


def child(node: Node, key: str) -> Node | None:
    """The value of a key; None if the node is no mapping, or lacks the key."""
    return node.parts.get(key) if isinstance(node.value, dict) else None


def set_file(node: Node, file: str) -> None:
    """Notes in a node, and in all below it, which file they come from."""
    if node.file:
        return
    node.file = file
    for key in node.keys.values():
        key.file = file
    for part in node.parts.values():
        set_file(part, file)


def set_option(node: Node, option: str) -> None:
    """Notes in a node, and in all below it, that an option of the command gives it."""
    node.start = node.end = None
    node.file = option
    for below in (*node.keys.values(), *node.parts.values()):
        set_option(below, option)


def text_of(node: Node | None) -> str | None:
    """A scalar as text, as it is written; None for anything else, and for null."""
    if node is None or node.value is None or isinstance(node.value, dict | list):
        return None
    return node.value if isinstance(node.value, str) else (node.text or str(node.value))


def in_mapping(at: Node, parts: Mapping[str | int, Node]) -> Node:
    """A mapping of these nodes at the position of another node, whose keys it has."""
    return replace(
        at,
        value={key: node.value for key, node in parts.items()},
        text=None,
        parts=dict(parts),
        keys={key: at.keys[key] for key in map(str, parts) if key in at.keys},
        size=1 + sum(node.size for node in parts.values()),
    )


def in_sequence(at: Node, items: Sequence[Node]) -> Node:
    """A list of these nodes at the position of another node."""
    return replace(
        at,
        value=[node.value for node in items],
        text=None,
        parts=dict(enumerate(items)),
        keys={},
        size=1 + sum(node.size for node in items),
    )


def text_node(text: str, at: Node) -> Node:
    """A text at the position of another node."""
    return replace(at, value=text, text=text, parts={}, keys={}, size=1)


def merge_nodes(base: Node, override: Node) -> Node:
    """Two mappings with the keys of both, merged at each level; else the override.

    A key of both stands where `override` has it.
    """
    if not (isinstance(base.value, dict) and isinstance(override.value, dict)):
        return override
    parts = dict(base.parts)
    for key, node in override.parts.items():
        parts[key] = merge_nodes(parts[key], node) if key in parts else node
    merged = in_mapping(base, parts)
    return replace(merged, keys={**base.keys, **override.keys})
