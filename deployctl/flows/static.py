"""Reads a flow from the text of its module, without running any of it.

Most flows state what a deployment needs plainly: a function, `@flow` above it, types of the
standard library, and constant defaults. For these the result equals what Prefect finds by importing
the module; a test compares both over a table of signatures. Anything whose meaning is not certain
raises `NotStatic`, and the project's own interpreter imports the flow instead.
"""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deployctl.core.json_values import Json
from deployctl.flows.annotations import AnnotationTranslator, can_be_evaluated, parse_annotation
from deployctl.flows.constants import ConstantEvaluator, encode_default
from deployctl.flows.docstrings import parameter_descriptions
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import ModuleNames, NotStatic

Function = ast.FunctionDef | ast.AsyncFunctionDef

_FLOW_DECORATORS = ("prefect.flow", "prefect.flows.flow")
_KNOWN_OPTIONS = {
    *("name", "version", "description", "flow_run_name", "task_runner", "validate_parameters"),
    *("retries", "retry_delay_seconds", "timeout_seconds", "log_prints", "persist_result"),
    *("result_storage", "result_serializer", "cache_result_in_memory"),
    *("on_completion", "on_failure", "on_cancellation", "on_crashed", "on_running"),
}
_RESERVED = ("return_state", "wait_for", "Config")
_RESERVED_PREFIXES = ("_", "v__", "model_")
_INVALID_IN_NAMES = frozenset("/%&<>")


class FlowNotFound(LookupError):
    """The module has no such name; `known` are the names of its functions and classes."""

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__()
        self.known = tuple(known)


class NotAFlow(TypeError):
    """The name refers to something that is not a flow."""


class Module:
    """A parsed Python file."""

    def __init__(self, file: Path) -> None:
        """Raises OSError, SyntaxError or ValueError if the file cannot be read or parsed."""
        self._content = file.read_bytes()
        with warnings.catch_warnings(
            action="ignore"
        ):  # about user code, which would go to our stderr
            self.tree = ast.parse(self._content, str(file))
        self.names = ModuleNames.from_module(self.tree, self._content.decode(errors="replace"))

    @cached_property
    def version(self) -> str:
        """The version that Prefect gives a flow whose decorator has none."""
        return hashlib.md5(self._content, usedforsecurity=False).hexdigest()

    @cached_property
    def postpones_annotations(self) -> bool:
        """Whether it has `from __future__ import annotations`."""
        return any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in self.tree.body
        )


@dataclass(frozen=True, slots=True)
class _FlowDefinition:
    """A function and the keyword arguments of the `flow` that decorates it."""

    function: Function
    options: Sequence[ast.keyword]
    line: int
    """The line of the decorator, before which the names that it uses must be bound."""
    names: ModuleNames


def read_flow(module: Module, path: str) -> FlowMetadata:
    """Reads the metadata of the flow at `path`, `function` or `Class.method`, of a module.

    Raises FlowNotFound, NotAFlow, or NotStatic if the text does not decide it.
    """
    flow = _find(module, path.split("."))
    constants = ConstantEvaluator(module.names, flow.line)
    given = {
        str(option.arg): constants.value(option.value)
        for option in flow.options
        if option.arg in ("name", "version", "description")
    }
    if any(not isinstance(value, str | None) for value in given.values()):
        raise NotStatic("the decorator's name, version and description must be strings")
    name = given.get("name") or flow.function.name.replace("_", "-")
    if _INVALID_IN_NAMES & set(name):
        raise NotStatic(f"'{name}' has characters that Prefect rejects in names")
    docstring = ast.get_docstring(flow.function)
    return FlowMetadata(
        name=name,
        description=given.get("description") or docstring,
        version=given.get("version") or module.version,
        parameter_schema=_parameter_schema(module, flow, parameter_descriptions(docstring)),
    )


def _find(module: Module, path: Sequence[str]) -> _FlowDefinition:
    names = module.names
    if not names.is_bound(path[0]):
        raise FlowNotFound(_defined(module.tree.body))
    match path, names.definition(path[0]):
        case [_], ast.FunctionDef() | ast.AsyncFunctionDef() as function:
            return _decorated(function, names)
        case [_], ast.Assign(value=ast.Call() as call):
            return _called(call, names)
        case [_], ast.ClassDef():
            raise NotAFlow
        case [_, method], ast.ClassDef() as owner:
            return _method(owner, method, names)
    raise NotStatic(f"what '{'.'.join(path)}' refers to depends on how the module runs")


def _defined(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _decorated(function: Function, names: ModuleNames) -> _FlowDefinition:
    match function.decorator_list:
        case []:
            raise NotAFlow
        case [decorator]:
            return _flow(function, decorator, names)
        case _:
            raise NotStatic(f"'{function.name}' has several decorators, which may change it")


def _method(owner: ast.ClassDef, name: str, names: ModuleNames) -> _FlowDefinition:
    if owner.decorator_list or owner.keywords:
        raise NotStatic(f"the class '{owner.name}' may be changed by a decorator or metaclass")
    found = [
        node
        for node in owner.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    if not found and not owner.bases:
        raise FlowNotFound(f"{owner.name}.{known}" for known in _defined(owner.body))
    if len(found) != 1:
        raise NotStatic(
            f"which '{name}' the class '{owner.name}' has depends on how the module runs"
        )
    function, class_names = found[0], names.within_class(owner.body)
    match [
        names.qualified_name(_without_call(node), node.lineno) for node in function.decorator_list
    ]:
        case ["builtins.staticmethod", _]:
            return _flow(function, function.decorator_list[1], class_names)
        case [_, "builtins.staticmethod" | "builtins.classmethod"]:
            return _flow(function, function.decorator_list[0], class_names)
    return _decorated(function, class_names)


def _called(call: ast.Call, names: ModuleNames) -> _FlowDefinition:
    """`name = flow(function)` or `name = flow(…)(function)`."""
    decorator: ast.expr = call.func
    match call:
        case ast.Call(args=[ast.Name(id=wrapped)], keywords=[]):
            function = names.definition(wrapped, call.lineno)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                if function.decorator_list:
                    raise NotStatic(f"'{wrapped}' has decorators, which may change it")
                return _flow(function, decorator, names, call.lineno)
    raise NotStatic(f"what '{ast.unparse(call)}' returns is only known when the code runs")


def _flow(
    function: Function, decorator: ast.expr, names: ModuleNames, line: int | None = None
) -> _FlowDefinition:
    if names.qualified_name(_without_call(decorator), decorator.lineno) not in _FLOW_DECORATORS:
        raise NotStatic(f"what '{ast.unparse(decorator)}' returns is only known when the code runs")
    options: Sequence[ast.keyword] = ()
    if isinstance(decorator, ast.Call):
        options = decorator.keywords
        if decorator.args or not {option.arg for option in options} <= _KNOWN_OPTIONS:
            raise NotStatic(f"the arguments of '{ast.unparse(decorator)}' are not all known")
    return _FlowDefinition(function, options, line or decorator.lineno, names)


def _without_call(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _parameter_schema(
    module: Module, flow: _FlowDefinition, descriptions: dict[str, str]
) -> dict[str, Json]:
    function, names, line = flow.function, flow.names, flow.function.lineno
    annotations, constants = AnnotationTranslator(names, line), ConstantEvaluator(names, line)
    postponed = module.postpones_annotations
    if getattr(function, "type_params", None):
        raise NotStatic("generic functions are only known when the code runs")
    if function.returns is not None and (postponed or isinstance(function.returns, ast.Constant)):
        _check_return_type(function.returns, postponed, names, line)
    properties: dict[str, Json] = {}
    required = []
    for position, (parameter, default) in enumerate(_parameters(function.args)):
        name = parameter.arg
        if name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
            raise NotStatic(f"Prefect may reject a parameter named '{name}'")
        if name in ("self", "cls"):
            continue
        item: dict[str, Json] = {}
        if parameter.annotation is not None:
            item = dict(annotations.schema(_parsed(parameter.annotation, postponed)))
        item |= {"position": position, "title": name}
        if name in descriptions:
            item["description"] = descriptions[name]
        if default is None or (value := constants.value(default)) is ...:
            required.append(name)
        else:
            item["default"] = encode_default(value)
        properties[name] = item
    schema: dict[str, Json] = {"title": "Parameters", "type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if annotations.definitions:
        schema["definitions"] = annotations.definitions
    return schema


def _parsed(annotation: ast.expr, postponed: bool) -> ast.expr:
    """Returns the expression of an annotation, parsed if it is a string."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) and not postponed:
        return parse_annotation(annotation.value)
    return annotation


def _check_return_type(returns: ast.expr, postponed: bool, names: ModuleNames, line: int) -> None:
    if not can_be_evaluated(_parsed(returns, postponed), names, line):
        raise NotStatic(f"whether the return type '{ast.unparse(returns)}' exists is not certain")


def _parameters(arguments: ast.arguments) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Yields all parameters in the order of the signature, each with its default."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    yield from zip(positional, [*missing, *arguments.defaults], strict=True)
    if arguments.vararg:
        yield arguments.vararg, None
    yield from zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if arguments.kwarg:
        yield arguments.kwarg, None
