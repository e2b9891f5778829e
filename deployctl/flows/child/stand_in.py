"""Modules that stand in for Prefect while a flow's module is imported without it.

`@flow` and `@task` record what they are given. Every other name of Prefect is a placeholder: a
class that can be called, subclassed and used as a decorator or type, and whose value nothing must
depend on: turning one into text or using the API raises `NoServer`, as the real Prefect does where
no server answers. `used_types` collects placeholders that pydantic meets in types.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.abc
import importlib.machinery
import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

VERSION = "3.9.1"
"""The Prefect whose behaviour this imitates."""

_TOP_LEVEL = {
    *("State", "Transaction", "allow_failure", "apause_flow_run", "aresume_flow_run"),
    *("aserve", "asuspend_flow_run", "deploy", "get_client", "pause_flow_run"),
    *("resume_flow_run", "serve", "suspend_flow_run", "tags", "unmapped"),
}
_MODULES = {
    *("agent", "analytics", "artifacts", "assets", "automations", "blocks", "bundles"),
    *("cache_policies", "cli", "client", "concurrency", "context", "deployments", "docker"),
    *("engine", "events", "exceptions", "filesystems", "flow_engine", "flow_runs", "flows"),
    *("futures", "infrastructure", "input", "locking", "logging", "main", "plugins"),
    *("results", "runner", "runtime", "schedules", "serializers", "server", "settings"),
    *("states", "task_engine", "task_runners", "task_runs", "task_worker", "tasks"),
    *("telemetry", "testing", "transactions", "types", "utilities", "variables", "workers"),
}
_REMOVED = {
    "prefect.deployments": frozenset({"Deployment"}),
    "prefect.filesystems": frozenset({"Azure", "GCS", "GitHub", "S3"}),
    "prefect.task_runners": frozenset({"SequentialTaskRunner"}),
    "prefect.infrastructure": frozenset(
        {"DockerContainer", "Infrastructure", "KubernetesJob", "Process"}
    ),
}
"""Names of Prefect 2 that Prefect 3 does not have: importing one fails."""
_USES_SERVER = {
    *("adelete", "aget", "aload", "arun", "aset", "delete", "deploy", "from_source", "get"),
    *("load", "register", "run_deployment", "save", "serve", "set", "submit"),
    *("to_deployment",),
}
_RESERVED = ("return_state", "wait_for")
_INVALID_IN_NAMES = frozenset("/%&><")

used_types: list[type] = []
"""Placeholders of which pydantic was asked for a schema."""


class NoServer(RuntimeError):
    """The code uses the Prefect API, or a value of Prefect, while its module is imported."""


def _no_server(name: str) -> NoServer:
    return NoServer(f"'{name}' needs a Prefect server while the module is imported")


class _PlaceholderType(type):
    """The type of placeholder classes: attributes of one are placeholders, too."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _USES_SERVER:
            raise _no_server(f"{cls.__name__}.{name}")
        return _placeholder(name, cls.__module__)

    def __getitem__(cls, _: Any) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())

    def __or__(cls, other: Any) -> Any:
        from typing import Union

        return Union[cls, other]  # noqa: UP007 - `|` would call this function again

    __ror__ = __or__


class Placeholder(metaclass=_PlaceholderType):
    """The value of a name of Prefect that is not imitated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns a placeholder, or the function that is decorated with this one."""
        if len(args) == 1 and not kwargs and inspect.isfunction(args[0]):
            return args[0]
        return Placeholder()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _USES_SERVER:
            raise _no_server(name)
        return Placeholder()

    def __str__(self) -> str:
        raise _no_server(type(self).__name__)

    def __format__(self, _: str) -> str:
        return str(self)

    def __add__(self, _: Any) -> Placeholder:
        return self

    __sub__ = __radd__ = __or__ = __ror__ = __add__

    def __getitem__(self, _: Any) -> Placeholder:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __enter__(self) -> Placeholder:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
        from pydantic_core import core_schema

        used_types.append(cls)
        return core_schema.any_schema()


def _placeholder(name: str, module: str) -> type:
    return _PlaceholderType(name, (Placeholder,), {"__module__": module})


def is_placeholder(value: Any) -> bool:
    """Whether a value, or a part of it, is a placeholder."""
    if isinstance(value, dict):
        return any(map(is_placeholder, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(is_placeholder, value))
    return isinstance(value, (Placeholder, _PlaceholderType))


class _Wrapped:
    """A function with a decorator of Prefect: it keeps its signature and can't be called."""

    def __init__(self, fn: Any) -> None:
        if isinstance(fn, (classmethod, staticmethod)):
            fn = fn.__func__
        if not callable(fn):
            raise TypeError("'fn' must be callable")
        functools.update_wrapper(self, fn)
        self.fn = fn

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Raises NoServer: a run would be reported to a server."""
        raise _no_server(self.fn.__name__)

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _USES_SERVER:
            raise _no_server(f"{self.fn.__name__}.{name}")
        return Placeholder()

    @classmethod
    def __class_getitem__(cls, _: Any) -> type:
        return cls


class Flow(_Wrapped):
    """What `@flow` makes of a function: its name, version and description."""

    def __init__(
        self,
        fn: Any,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(fn)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"expected a string for 'name', not {type(name).__name__}")
        self.name = name or self.fn.__name__.replace("_", "-").replace("<lambda>", "unknown-lambda")
        if _INVALID_IN_NAMES & set(self.name):
            raise ValueError(f"'{self.name}' has a character that flow names must not have")
        for reserved in _RESERVED:
            if reserved in inspect.signature(self.fn).parameters:
                raise ValueError(f"'{reserved}' is a reserved name of a parameter")
        self.description = description or inspect.getdoc(self.fn)
        self.version = version or _file_hash(self.fn)
        self._options = {"name": name, "version": version, "description": description, **options}

    def with_options(self, **options: Any) -> Flow:
        """Returns the flow with some options changed."""
        given = {key: value for key, value in options.items() if value is not None}
        return type(self)(self.fn, **{"name": self.name, **self._options, **given})

    def on_completion(self, hook: Any) -> Any:
        """Registers a hook, as `on_failure` and the others do: the function stays as it is."""
        return hook

    on_failure = on_cancellation = on_crashed = on_running = on_completion


class Task(_Wrapped):
    """What `@task` makes of a function."""

    def __init__(self, fn: Any, **options: Any) -> None:
        super().__init__(fn)
        self.name = options.get("name") or self.fn.__name__

    def with_options(self, **_: Any) -> Task:
        """Returns the task: none of its options matters to a flow's schema."""
        return self


def _file_hash(function: Callable[..., Any]) -> str | None:
    """Returns the MD5 of the function's file; None if it comes from no file."""
    try:
        file = inspect.getsourcefile(function)
        return hashlib.md5(Path(file).read_bytes()).hexdigest() if file else None
    except (OSError, TypeError):
        return None


def _decorator(kind: type) -> Callable[..., Any]:
    """Returns `flow` or `task`, which can be used with and without arguments."""

    def decorate(fn: Any = None, **options: Any) -> Any:
        """Decorates a function, or returns a decorator."""
        if fn is None:
            return lambda fn: kind(fn, **options)
        return kind(fn, **options)

    def from_source(*_: Any, **__: Any) -> Any:
        """Raises NoServer, as the source is elsewhere."""
        raise _no_server("from_source")

    decorate.from_source = from_source  # type: ignore[attr-defined]
    return decorate


def _get_run_logger(*_: Any, **__: Any) -> Any:
    raise RuntimeError("there is no active flow or task run context")


def _get_logger(name: str | None = None) -> logging.Logger:
    return logging.getLogger(name or "prefect")


_flow, _task = _decorator(Flow), _decorator(Task)
_IMITATED: dict[str, dict[str, Any]] = {
    "prefect": {"__version__": VERSION, "get_run_logger": _get_run_logger},
    "prefect.flows": {},
    "prefect.tasks": {},
    "prefect.logging": {"get_logger": _get_logger, "get_run_logger": _get_run_logger},
    "prefect.logging.loggers": {"get_logger": _get_logger, "get_run_logger": _get_run_logger},
}
for _name in ("prefect", "prefect.flows"):
    _IMITATED[_name].update(flow=_flow, Flow=Flow)
for _name in ("prefect", "prefect.tasks"):
    _IMITATED[_name].update(task=_task, Task=Task)


class _Module(ModuleType):
    """A module of Prefect: what isn't imitated is a placeholder."""

    def __getattr__(self, name: str) -> Any:
        removed = name in _REMOVED.get(self.__name__, ())
        unknown = self.__name__ == "prefect" and name not in _TOP_LEVEL
        if name.startswith("_") or removed or unknown:
            if unknown and name in _MODULES:
                return importlib.import_module(f"prefect.{name}")
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        if name in _USES_SERVER:
            return functools.partial(_raise_no_server, f"{self.__name__}.{name}")
        found = _placeholder(name, self.__name__)
        setattr(self, name, found)
        return found


def _raise_no_server(name: str, *_: Any, **__: Any) -> Any:
    raise _no_server(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of Prefect, as packages without files."""

    def find_spec(
        self, fullname: str, _: Sequence[str] | None, __: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Returns the spec of `prefect` and of the modules below it."""
        package, *rest = fullname.split(".")
        if package != "prefect" or (rest and rest[0] not in _MODULES):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Returns an empty module."""
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Adds the names that are imitated."""
        vars(module).update(_IMITATED.get(module.__name__, {}))


def install() -> None:
    """Makes the stand-in importable as `prefect`."""
    sys.meta_path.insert(0, _Finder())
