"""Merges keys into the node of a deployment or an environment; some keys have two forms."""

from __future__ import annotations

from collections.abc import Mapping

from deployctl.project.compose import Node
from deployctl.project.nodes import child, in_mapping, merge_nodes, text_of

_ALTERNATIVES = {"schedules": "schedule", "schedule": "schedules"}
"""Key → the other form of it, which a deployment has no more if it is given the key."""


def merge_entry(entry: Node, override: Node) -> Node:
    """A deployment with further values: mappings are merged, all others replaced."""
    for key in override.value:
        entry = without_alternative(entry, key)
    if "work_pool" in override.parts:
        entry = in_mapping(entry, {**entry.parts, **pool_by_name(entry.parts)})
    changes = {**override.parts, **pool_by_name(override.parts)}
    return merge_nodes(entry, in_mapping(override, changes))


def merge_environment(section: Node, override: Node) -> Node:
    """An environment with further values: its deployments are merged one by one, as entries."""
    merged = merge_entry(section, override)
    own, others = child(section, "deployments"), child(override, "deployments")
    if own is None or others is None or not isinstance(others.value, dict):
        return merged
    parts = dict(merged.parts["deployments"].parts)
    for name, entry in others.parts.items():
        base = child(own, str(name))
        if base and isinstance(base.value, dict) and isinstance(entry.value, dict):
            parts[name] = merge_entry(base, entry)
    deployments = in_mapping(merged.parts["deployments"], parts)
    return in_mapping(merged, {**merged.parts, "deployments": deployments})


def without_alternative(entry: Node, key: str) -> Node:
    """A deployment without the older form of a key, or the newer one."""
    gone = _ALTERNATIVES.get(key)
    if gone not in entry.parts:
        return entry
    return in_mapping(entry, {name: node for name, node in entry.parts.items() if name != gone})


def pool_by_name(parts: Mapping[str | int, Node]) -> dict[str | int, Node]:
    """The work pool of a deployment as a mapping, where only its name or a template is written."""
    pool = parts.get("work_pool")
    if pool is None or text_of(pool) is None:
        return {}
    return {"work_pool": in_mapping(pool, {"name": pool})}
