"""Calls one function for `custom`: this file is run by the project's Python, and imports nothing of
deployctl. Arguments: the function's dotted name, a file for what it returns, and the packages that
it needs; inputs are JSON on standard input.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import sys
from typing import Any

NOT_FOUND = 3


def find(name: str) -> Any:
    """The function of a dotted name. Raises ImportError and AttributeError."""
    module, _, attribute = name.rpartition(".")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - starts quickly
    return getattr(importlib.import_module(module), attribute)


def is_there(requirement: str) -> bool:
    """Whether there is such a package, or a module called like it, in whatever version."""
    name = re.split(r"[\[<>=!~;@\s]", requirement.strip(), maxsplit=1)[0]
    try:
        importlib.metadata.version(name)
    except (ImportError, ValueError):
        return importlib.util.find_spec(name.partition(".")[0].replace("-", "_")) is not None
    return True


def main() -> int:
    """Gives the exit code."""
    name, answer, *requires = sys.argv[1:]
    inputs = json.load(sys.stdin)
    if not all(map(is_there, requires)):
        return NOT_FOUND
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
