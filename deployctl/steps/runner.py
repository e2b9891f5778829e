"""Calls one function for `custom`: this file is run by the project's Python, and imports nothing of
deployctl. Arguments: the function's dotted name, and a file for what it returns; inputs are JSON on
standard input.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import sys
from typing import Any

NOT_FOUND = 3


def find(name: str) -> Any:
    """The function of a dotted name. Raises ImportError and AttributeError."""
    module, _, attribute = name.rpartition(".")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - starts quickly
    return getattr(importlib.import_module(module), attribute)


def main() -> int:
    """Gives the exit code."""
    name, answer = sys.argv[1:]
    inputs = json.load(sys.stdin)
    try:
        function = find(name)
    except (ImportError, AttributeError, ValueError) as error:
        print(f"there is no function '{name}' here: {error}", file=sys.stderr)
        return NOT_FOUND
    result = function(**inputs)
    if inspect.isawaitable(result):
        result = asyncio.run(_awaited(result))
    if isinstance(result, dict):
        with open(answer, "w", encoding="utf-8") as file:  # noqa: PTH123 - starts quickly
            json.dump(result, file, default=str)
    return 0


async def _awaited(result: Any) -> Any:
    return await result


if __name__ == "__main__":
    sys.exit(main())
