"""JSON values, and the paths that lead to a place inside one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, list or dict of the same. A recursive alias would only move the
checks that are made where such values come in (file, server, program output) into casts."""

JsonPath: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the root of a value to a place in it: `("deployments", 0, "name")`."""


def format_path(path: JsonPath) -> str:
    """A path as people write it: `deployments[0].work_pool.name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def leaves(value: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Json]]:
    """Every value that is neither a mapping nor a list, with its path, in document order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def canonical_json(value: Json) -> str:
    """The one text of a value, whatever the order of its keys: for comparing and hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Json) -> str:
    """SHA-256 of a value's canonical text, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
