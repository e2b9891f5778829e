"""Loads flows like Prefect does; a script that runs in an interpreter that has Prefect.

This is the only module that imports Prefect and the only one that runs user code. It imports
nothing else of this package, because the project's interpreter may be any that Prefect supports. It
reads `[{"entrypoint": …, "base": …}, …]` from standard input, and appends a line of JSON per
entrypoint to the file in its argument as soon as that is loaded: so output of user code does not
interfere, and results survive a crash or a timeout.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
import os
import sys
import sysconfig
import traceback
from contextlib import suppress
from typing import Any

_LIBRARY_FOLDERS = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})


def main() -> None:
    """Reads the tasks and loads them one by one."""
    tasks = json.load(sys.stdin)
    path = sys.path[:] = sys.path[1:]  # without the folder of this script
    with suppress(Exception):  # reported by each flow
        import prefect.flows  # noqa: F401
    opened: set[str] = set()
    sys.addaudithook(lambda event, args: _record_opened(opened, event, args))
    sys.dont_write_bytecode = True
    with open(sys.argv[1], "a", encoding="utf-8") as out:  # noqa: PTH123
        for task in tasks:
            before = set(sys.modules)
            opened.clear()
            os.chdir(task["base"])
            sys.path[:] = path
            result = _load(task["entrypoint"])
            new = set(sys.modules) - before
            result["files"] = sorted(filter(os.path.isfile, opened | _module_files(new)))
            out.write(json.dumps(result) + "\n")
            out.flush()
            _unload(new)


def _load(entrypoint: str) -> dict[str, Any]:
    """Loads a flow; returns metadata, an error, or both if Prefect could read the file in part."""
    result: dict[str, Any] = {"entrypoint": entrypoint}
    try:
        from prefect.exceptions import ScriptError
        from prefect.flows import load_flow_from_entrypoint
        from prefect.utilities.callables import parameter_schema

        try:
            flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        except ScriptError as error:
            result["error"] = _describe_error(error)
            flow = load_flow_from_entrypoint(entrypoint)
        metadata = {
            "name": flow.name,
            "description": flow.description,
            "version": flow.version,
            "parameter_schema": _dump(parameter_schema(flow)),
        }
        json.dumps(metadata, allow_nan=False)
        result["metadata"] = metadata
    except (Exception, SystemExit) as error:
        result.setdefault("error", _describe_error(error))
    return result


def _dump(schema: Any) -> Any:
    """Returns the schema as Prefect sends it."""
    if hasattr(schema, "model_dump_for_openapi"):
        return schema.model_dump(mode="python", exclude_unset=True)
    return schema.dict()


def _describe_error(error: BaseException) -> dict[str, Any]:
    """Returns the exception types, the message of the root cause, and its line in user code."""
    chain: list[BaseException] = [error]
    while True:
        last = chain[-1]
        inner = getattr(last, "user_exc", None) or last.__cause__
        if inner is None or inner in chain:
            break
        chain.append(inner)
    cause = chain[-1]
    location = None
    if isinstance(cause, SyntaxError) and cause.filename:
        location = [cause.filename, cause.lineno]
    else:
        for frame in traceback.extract_tb(cause.__traceback__):
            if _is_user_file(frame.filename):
                location = [frame.filename, frame.lineno]
    exception_types = [type(item).__name__ for item in chain]
    return {"exception_types": exception_types, "message": str(cause).strip(), "location": location}


def _is_user_file(name: str) -> bool:
    return (
        not name.startswith((*_LIBRARY_FOLDERS, "<"))
        and name != __file__
        and "site-packages" not in name
    )


def _record_opened(opened: set[str], event: str, args: Any) -> None:
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".pyc", ".so")):
        name = os.path.abspath(args[0])  # noqa: PTH100
        if _is_user_file(name):
            opened.add(name)


def _module_file(module: str) -> str | None:
    name = getattr(sys.modules.get(module), "__file__", None)
    return os.path.abspath(name) if name and _is_user_file(name) else None  # noqa: PTH100


def _module_files(modules: set[str]) -> set[str]:
    return {name for name in map(_module_file, modules) if name}


def _unload(modules: set[str]) -> None:
    """Drops user modules: another folder may have modules of the same names."""
    for module in modules:
        if _module_file(module):
            del sys.modules[module]


if __name__ == "__main__":
    main()
