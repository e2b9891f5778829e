"""JSON values, paths into them, and their canonical text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""None, bool, int, float, str, or a list or dict of these.

An alias of Any: values are validated where they enter (files, server, program output), and a
recursive alias would turn those validations into casts.
"""

JsonPath: TypeAlias = tuple[str | int, ...]
"""Keys and indexes from the root of a value to one inside it: `("deployments", 0, "name")`."""


def format_path(path: JsonPath) -> str:
    """Formats a path for messages, e.g. `deployments[0].work_pool.name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def leaves(value: Json, path: JsonPath = ()) -> Iterator[tuple[JsonPath, Json]]:
    """Yields each value that is neither a dict nor a list with its path, in document order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def same_json(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON, unlike Python's `1 == True == 1.0`.

    A float with an exponent equals the integer of that value: PostgreSQL's JSONB stores `1e+16` as
    10000000000000000.
    """
    return bool(one == other) and _same_types(one, other)


def canonical_json(value: Json) -> str:
    """JSON text that doesn't depend on the order of keys: for comparing and hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Json) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


_EXACT_FLOATS = 1e16
"""From here on Python writes floats with an exponent."""


def _same_types(one: Json, other: Json) -> bool:
    """Whether two equal values have the same types throughout."""
    if isinstance(one, dict):
        return all(_same_types(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return all(map(_same_types, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) != isinstance(other, float):
        return bool(abs(one) >= _EXACT_FLOATS)
    return True
