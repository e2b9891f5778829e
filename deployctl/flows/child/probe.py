"""Loads flows as `prefect deploy` does; the main function of the child process.

It reads `{"tasks": [{"entrypoint", "base", "path"}, …], "results": FILE}` from standard input, and
appends a line of JSON per task to that file as soon as the flow is loaded: so output of user
code does not interfere, and results survive a crash or a timeout. Without Prefect in this
interpreter, a stand-in takes its place (`stand_in.py`).

The user's code sees what Prefect's engine shows it: `sys.argv` is `["prefect.engine"]`, nothing of
ours is on `sys.path`, and standard input is empty. Prefect gets an address at which no server
listens, so a module that uses the API while it is imported fails instead of changing anything.
"""

# mypy: disable-error-code="import-not-found, unused-ignore"

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_LIBRARY_FOLDERS = tuple({sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib")})
_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
NO_SERVER = "http://127.0.0.1:9/api"
"""An address at which no server listens: port 9 (discard) is unused everywhere."""
_SETTINGS = {
    "PREFECT_API_URL": NO_SERVER,
    "PREFECT_CLIENT_MAX_RETRIES": "0",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "DO_NOT_TRACK": "1",
}
"""Settings that Prefect reads once, while it is imported. The user's code does not see them: the
default of a parameter may come from `PREFECT_API_URL`."""

Loader = Callable[[str], "tuple[Any, Exception | None]"]
"""Returns a flow, and the error that kept its module from running to its end, if any."""


def main() -> None:
    """Reads the tasks and loads them one by one."""
    request = json.load(sys.stdin)
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    sys.argv[:] = ["prefect.engine"]
    path = list(sys.path)
    load, describe = _stand_in() if importlib.util.find_spec("prefect") is None else _prefect()
    opened: set[str] = set()
    sys.addaudithook(lambda event, args: _record_opened(opened, event, args))
    with open(request["results"], "a", encoding="utf-8") as out:  # noqa: PTH123
        for task in request["tasks"]:
            before = set(sys.modules)
            opened.clear()
            os.chdir(task["base"])
            sys.path[:] = [*path, *task["path"]]
            result = _load(task["entrypoint"], load, describe)
            new = set(sys.modules) - before
            result["files"] = sorted(filter(os.path.isfile, opened | _module_files(new)))
            out.write(json.dumps(result) + "\n")
            out.flush()
            _unload(new)


def _load(
    entrypoint: str, load: Loader, describe: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """Loads a flow; returns metadata, an error, or both if the file could be read in part.

    Infinity and NaN become null, as when Prefect sends them.
    """
    result: dict[str, Any] = {}
    try:
        flow, error = load(entrypoint)
        if error is not None:
            result["error"] = _describe_error(error)
        metadata = {
            "name": flow.name,
            "description": flow.description,
            "version": flow.version,
            **describe(flow),
        }
        metadata = json.loads(json.dumps(metadata), parse_constant=lambda _: None)
        result["metadata"] = metadata
    except (Exception, SystemExit) as error:
        result.setdefault("error", _describe_error(error))
    return result


def _stand_in() -> tuple[Loader, Callable[[Any], dict[str, Any]]]:
    """Returns how to load and describe flows without Prefect."""
    from deployctl.flows.child import loading, schema, stand_in

    stand_in.install()
    return loading.load_flow, schema.describe


def _prefect() -> tuple[Loader, Callable[[Any], dict[str, Any]]]:
    """Returns how to load and describe flows with the installed Prefect."""
    environ = dict(os.environ)
    os.environ.update(_SETTINGS)
    with suppress(Exception):  # reported by each flow
        import prefect.flows  # noqa: F401
    os.environ.clear()
    os.environ.update(environ)

    def load(entrypoint: str) -> tuple[Any, Exception | None]:
        """Loads a flow, if need be without those parts of its file that fail."""
        from prefect.exceptions import ScriptError
        from prefect.flows import load_flow_from_entrypoint

        try:
            return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False), None
        except ScriptError as error:
            return load_flow_from_entrypoint(entrypoint), error

    def describe(flow: Any) -> dict[str, Any]:
        """Returns the schema of the flow's parameters."""
        from prefect.utilities.callables import parameter_schema

        return {"parameter_schema": _variadic(_dump(parameter_schema(flow)), flow)}

    return load, describe


def _dump(schema: Any) -> Any:
    """Returns the schema as Prefect sends it."""
    if hasattr(schema, "model_dump_for_openapi"):
        return schema.model_dump(mode="python", exclude_unset=True)
    return schema.dict()


def _variadic(schema: Any, flow: Any) -> Any:
    """Returns the schema with `*args` as an optional array and `**kwargs` as an optional object.

    Prefect before 3.9 makes both required, of the type of one item. The server then refuses the
    lists and mappings that the runs of every Prefect since 2.20 take, and runs without them.
    """
    required = schema.get("required", [])
    for parameter in inspect.signature(flow).parameters.values():
        if parameter.name not in required or parameter.name not in schema["properties"]:
            continue
        item = schema["properties"][parameter.name]
        shown = {key: item.pop(key) for key in ("position", "title", "description") if key in item}
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            whole: Any = {"type": "array", "items": item, "default": []}
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            whole = {"type": "object", "additionalProperties": item or True, "default": {}}
        else:
            item.update(shown)
            continue
        schema["properties"][parameter.name] = {**whole, **shown}
        required.remove(parameter.name)
    if not required:
        schema.pop("required", None)
    return schema


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
    message = cause.msg if isinstance(cause, SyntaxError) else str(cause).strip()
    exception_types = [type(item).__name__ for item in chain]
    return {"exception_types": exception_types, "message": message, "location": location}


def _is_user_file(name: str) -> bool:
    return (
        not name.startswith((*_LIBRARY_FOLDERS, _OWN_FOLDER, "<")) and "site-packages" not in name
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
