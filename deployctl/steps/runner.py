"""Calls one function for `custom`.

The project's Python runs this file, so it imports nothing of deployctl. Arguments: the function's
dotted name, a file for the result, and the packages that it needs; inputs are JSON on stdin.

The result is a mapping with one key: `missing`, why the function can't be imported; `error`, what
it raised; or `outputs`. There is no result if the function ends the program.
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
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any


def find(name: str) -> Any:
    """The function with a dotted name. Raises ImportError or AttributeError."""
    module, _, attribute = name.rpartition(".")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - starts quickly
    __import__(module)
    return getattr(sys.modules[module], attribute)


def is_there(requirement: str) -> bool:
    """Whether a package, or a module of its name, is installed in any version."""
    name = re.split(r"[\[<>=!~;@\s]", requirement.strip(), maxsplit=1)[0]
    try:
        importlib.metadata.version(name)
    except (ImportError, ValueError):
        return importlib.util.find_spec(name.partition(".")[0].replace("-", "_")) is not None
    return True


def call(name: str, inputs: dict[str, Any], requires: Sequence[str]) -> dict[str, Any]:
    """The result of calling the function; the traceback of what it raises goes to stderr."""
    if not all(map(is_there, requires)):
        return {"missing": f"'{name}' requires {', '.join(requires)}"}
    try:
        try:
            function = find(name)
        except (ImportError, AttributeError, ValueError) as error:
            return {"missing": f"the function '{name}' cannot be imported: {error}"}
        result = function(**inputs)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
    except Exception as error:
        traceback.print_exception(error.with_traceback(_outside(error.__traceback__)))
        return {"error": "".join(traceback.format_exception_only(error)).strip()}
    return {"outputs": outputs(result)}


def outputs(result: Any) -> dict[str, Any]:
    """The part of a result that JSON can represent; stderr names what is left out."""
    if result is None:
        return {}
    if not isinstance(result, dict):
        print(f"no outputs: it returned {type(result).__name__}, not dict", file=sys.stderr)
        return {}
    found = {}
    for key, value in result.items():
        try:
            found[key] = json.loads(json.dumps(value, default=_text))
        except (TypeError, ValueError) as error:
            print(f"the output '{key}' is left out: {error}", file=sys.stderr)
    return found


def _text(value: Any) -> str:
    """A path, a time or the like as text. Raises TypeError for types without `__str__`."""
    if type(value).__str__ is object.__str__:  # type: ignore[comparison-overlap]
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return str(value)


def _outside(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is outside this file."""
    rest = trace
    while trace:
        if trace.tb_frame.f_code.co_filename == __file__:
            rest = trace.tb_next
        trace = trace.tb_next
    return rest


async def _awaited(result: Any) -> Any:
    return await result


if __name__ == "__main__":
    function, result_file, *packages = sys.argv[1:]
    result = call(function, json.load(sys.stdin), packages)
    with open(result_file, "w", encoding="utf-8") as file:  # noqa: PTH123 - starts quickly
        json.dump(result, file)
