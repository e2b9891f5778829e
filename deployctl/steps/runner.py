"""Calls one function for `custom`: this file is run by the project's Python, and imports nothing of
deployctl. Arguments: the function's dotted name, a file for the answer, and the packages that it
needs; inputs are JSON on standard input.

The answer is a mapping with one key: `missing` or `error`, why there is no such function or what it
raised, or `outputs`. There is none where the function ends the program.
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
    """The function of a dotted name. Raises ImportError and AttributeError."""
    module, _, attribute = name.rpartition(".")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - starts quickly
    __import__(module)
    return getattr(sys.modules[module], attribute)


def is_there(requirement: str) -> bool:
    """Whether there is such a package, or a module called like it, in whatever version."""
    name = re.split(r"[\[<>=!~;@\s]", requirement.strip(), maxsplit=1)[0]
    try:
        importlib.metadata.version(name)
    except (ImportError, ValueError):
        return importlib.util.find_spec(name.partition(".")[0].replace("-", "_")) is not None
    return True


def call(name: str, inputs: dict[str, Any], requires: Sequence[str]) -> dict[str, Any]:
    """The answer; the traceback of what the function raises goes to standard error."""
    if not all(map(is_there, requires)):
        return {"missing": f"'{name}' requires {', '.join(requires)}"}
    try:
        try:
            function = find(name)
        except (ImportError, AttributeError, ValueError) as error:
            return {"missing": f"there is no function '{name}' here: {error}"}
        result = function(**inputs)
        if inspect.isawaitable(result):
            result = asyncio.run(_awaited(result))
    except Exception as error:
        traceback.print_exception(error.with_traceback(_own(error.__traceback__)))
        return {"error": "".join(traceback.format_exception_only(error)).strip()}
    return {"outputs": outputs(result)}


def outputs(result: Any) -> dict[str, Any]:
    """What JSON can say of a result; standard error says what is left out."""
    if result is None:
        return {}
    if not isinstance(result, dict):
        print(f"it gave {type(result).__name__}, not dict: no outputs", file=sys.stderr)
        return {}
    told = {}
    for key, value in result.items():
        try:
            told[key] = json.loads(json.dumps(value, default=_text))
        except (TypeError, ValueError) as error:
            print(f"the output '{key}' is left out: {error}", file=sys.stderr)
    return told


def _text(value: Any) -> str:
    """A path, a time or the like as a text. Raises TypeError for what has none of its own."""
    if type(value).__str__ is object.__str__:  # type: ignore[comparison-overlap]
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return str(value)


def _own(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins where this file ends."""
    own = trace
    while trace:
        if trace.tb_frame.f_code.co_filename == __file__:
            own = trace.tb_next
        trace = trace.tb_next
    return own


async def _awaited(result: Any) -> Any:
    return await result


if __name__ == "__main__":
    function, answer, *packages = sys.argv[1:]
    told = call(function, json.load(sys.stdin), packages)
    with open(answer, "w", encoding="utf-8") as file:  # noqa: PTH123 - starts quickly
        json.dump(told, file)
