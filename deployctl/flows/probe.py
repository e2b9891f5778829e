"""Loads flows as Prefect would, in an interpreter that has Prefect; run as a file of its own.

This is the one module that imports Prefect, and the only one that runs the user's code. It needs
nothing else of this package, as it is run by the project's interpreter, which may be any that
Prefect supports. It reads `[{"entrypoint": …, "base": …}, …]` from its standard input and appends
one line of JSON for each to the file that its argument names, as soon as it is known: prints of
the user's code spoil nothing, and what was found before a crash or a time-out is not lost.
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

_LIBRARIES = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})


def main() -> None:
    """Reads the tasks and answers them one by one."""
    tasks = json.load(sys.stdin)
    path = sys.path[:] = sys.path[1:]  # without the folder of this file
    with suppress(Exception):  # each flow will tell
        import prefect.flows  # noqa: F401
    opened: set[str] = set()
    sys.addaudithook(lambda event, args: _note_opened(opened, event, args))
    sys.dont_write_bytecode = True
    with open(sys.argv[1], "a", encoding="utf-8") as out:  # noqa: PTH123
        for task in tasks:
            before = set(sys.modules)
            opened.clear()
            os.chdir(task["base"])
            sys.path[:] = path
            result = _load(task["entrypoint"])
            new = set(sys.modules) - before
            result["files"] = sorted(filter(os.path.isfile, opened | _files(new)))
            out.write(json.dumps(result) + "\n")
            out.flush()
            _forget(new)


def _load(entrypoint: str) -> dict[str, Any]:
    """The facts about a flow, an error, or both: Prefect can do without running all of a file."""
    result: dict[str, Any] = {"entrypoint": entrypoint}
    try:
        from prefect.exceptions import ScriptError
        from prefect.flows import load_flow_from_entrypoint
        from prefect.utilities.callables import parameter_schema

        try:
            flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
        except ScriptError as error:
            result["error"] = _explain(error)
            flow = load_flow_from_entrypoint(entrypoint)
        facts = {
            "name": flow.name,
            "description": flow.description,
            "version": flow.version,
            "parameter_schema": _dump(parameter_schema(flow)),
        }
        json.dumps(facts, allow_nan=False)
        result["facts"] = facts
    except (Exception, SystemExit) as error:
        result.setdefault("error", _explain(error))
    return result


def _dump(schema: Any) -> Any:
    """The schema as Prefect sends it."""
    if hasattr(schema, "model_dump_for_openapi"):
        return schema.model_dump(mode="python", exclude_unset=True)
    return schema.dict()


def _explain(error: BaseException) -> dict[str, Any]:
    """The first cause of an error and the user's line that it comes from."""
    chain: list[BaseException] = [error]
    while True:
        last = chain[-1]
        inner = getattr(last, "user_exc", None) or last.__cause__
        if inner is None or inner in chain:
            break
        chain.append(inner)
    cause = chain[-1]
    place = None
    if isinstance(cause, SyntaxError) and cause.filename:
        place = [cause.filename, cause.lineno]
    else:
        for frame in traceback.extract_tb(cause.__traceback__):
            if _is_the_users(frame.filename):
                place = [frame.filename, frame.lineno]
    kinds = [type(item).__name__ for item in chain]
    return {"kinds": kinds, "message": str(cause).strip(), "place": place}


def _is_the_users(name: str) -> bool:
    return (
        not name.startswith((*_LIBRARIES, "<")) and name != __file__ and "site-packages" not in name
    )


def _note_opened(opened: set[str], event: str, args: Any) -> None:
    if event == "open" and isinstance(args[0], str) and not args[0].endswith((".pyc", ".so")):
        name = os.path.abspath(args[0])  # noqa: PTH100
        if _is_the_users(name):
            opened.add(name)


def _file(module: str) -> str | None:
    name = getattr(sys.modules.get(module), "__file__", None)
    return os.path.abspath(name) if name and _is_the_users(name) else None  # noqa: PTH100


def _files(modules: set[str]) -> set[str]:
    return {name for name in map(_file, modules) if name}


def _forget(modules: set[str]) -> None:
    """Drops the user's modules: another flow's folder may have others of these names."""
    for module in modules:
        if _file(module):
            del sys.modules[module]


if __name__ == "__main__":
    main()
