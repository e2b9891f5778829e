"""Reads a flow from the text of its module, without running any of it.

Most flows state what a deployment needs plainly: a function, `@flow` above it, types of the
standard library, and constant defaults. For these the result equals what Prefect finds by importing
the module; a test compares both over a table of signatures. Anything whose meaning is not certain
raises `NotStatic`, and the project's own interpreter imports the flow instead.
"""

from __future__ import annotations

import ast
import hashlib
import os.path
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from deployctl.flows.constants import ConstantEvaluator
from deployctl.flows.decorators import wrapper_of
from deployctl.flows.docstrings import parameter_descriptions
from deployctl.flows.metadata import FlowMetadata
from deployctl.flows.names import ImportedName, ModuleNames, NotStatic
from deployctl.flows.newer_syntax import parse_in_part
from deployctl.flows.project_modules import ProjectModules
from deployctl.flows.signature import FlowDefinition, Function, parameter_schema

_FLOW_DECORATORS = ("prefect.flow", "prefect.flows.flow", "prefect.Flow", "prefect.flows.Flow")
_KNOWN_OPTIONS = {
    *("name", "version", "description", "flow_run_name", "task_runner", "validate_parameters"),
    *("retries", "retry_delay_seconds", "timeout_seconds", "log_prints", "persist_result"),
    *("result_storage", "result_serializer", "cache_result_in_memory"),
    *("on_completion", "on_failure", "on_cancellation", "on_crashed", "on_running"),
}
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

    def __init__(self, file: Path, modules: ProjectModules | None = None) -> None:
        """Raises OSError, SyntaxError or ValueError if the file cannot be read or parsed.

        `modules`: where imports are followed to, and the environment.
        """
        self._content = file.read_bytes()
        self._modules = modules
        self.error: SyntaxError | None = None
        """Set where only parts of the file are valid for our Python."""
        with warnings.catch_warnings(action="ignore"):  # about user code
            try:
                self.tree = ast.parse(self._content, str(file))
            except SyntaxError as error:
                self.tree = parse_in_part(self._content.decode(), error)
                self.error = error
        source = self._content.decode(errors="replace")
        if modules is None:
            self.names = ModuleNames.from_module(self.tree, source)
        else:
            self.names = modules.names_of(self.tree, source, Path(os.path.abspath(file)))  # noqa: PTH100

    def of(self, names: ModuleNames) -> Module:
        """Returns the module with these names: this one, or one of the project that it imports.

        Raises NotStatic if it can't be read.
        """
        if names.imports is None or names.tree is self.tree:
            return self
        try:
            return Module(names.imports.file, self._modules)
        except (OSError, SyntaxError, ValueError) as error:
            raise NotStatic(f"the module '{names.imports.file.name}' cannot be read") from error

    @property
    def lines(self) -> Sequence[bytes]:
        """The lines of the file."""
        return self._content.splitlines()

    @cached_property
    def version(self) -> str:
        """The version that Prefect gives a flow whose decorator has none."""
        return _digest(self._content)

    @cached_property
    def postpones_annotations(self) -> bool:
        """Whether it has `from __future__ import annotations`."""
        return any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in self.tree.body
        )


def file_version(file: Path) -> str:
    """Returns the version that Prefect gives the flows of a file. Raises OSError."""
    return _digest(file.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def flow_functions(module: Module) -> Iterator[str]:
    """Yields the names of the module's functions that have the decorator `flow`."""
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and any(
            _is_flow(decorator, module.names) for decorator in node.decorator_list
        ):
            yield node.name


def read_flow(module: Module, path: str) -> FlowMetadata:
    """Reads the metadata of the flow at `path`, `function` or `Class.method`, of a module.

    Raises FlowNotFound, NotAFlow, or NotStatic if the text does not decide it.
    """
    home, parts = _home(module, path.split("."))
    return _metadata(home, _find(home, parts), None)


def read_flow_in_part(module: Module, path: str) -> FlowMetadata:
    """Reads what the text decides of a flow; the other parameters get an open schema.

    Raises FlowNotFound, NotAFlow, or NotStatic if the text does not even decide the name.
    """
    home, parts = _home(module, path.split("."))
    try:
        flow = _find(home, parts)
    except NotStatic:
        flow = _find_roughly(home, parts)
    return _metadata(home, flow, [])


def _home(module: Module, path: list[str]) -> tuple[Module, list[str]]:
    """Returns the module of the project that defines the flow at `path`, and its path there."""
    names = module.names
    if names.imports is not None and names.is_bound(path[0]):
        with suppress(NotStatic):
            binding = names.binding(path[0], None)
            if isinstance(binding, ImportedName):
                found, parts = names.imports.follow(binding.name)
                return module.of(found), [*parts, *path[1:]]
    return module, path


def _metadata(module: Module, flow: FlowDefinition, unknown: list[str] | None) -> FlowMetadata:
    """Returns the metadata of a flow. With a list `unknown`, see `parameter_schema`."""
    constants = ConstantEvaluator(flow.options_names or flow.names, flow.line)
    given = {}
    for option in flow.options:
        if option.arg in ("name", "version", "description"):
            try:
                given[option.arg] = constants.value(option.value)
            except NotStatic:
                if unknown is None or option.arg == "name":
                    raise
    if any(not isinstance(value, str | None) for value in given.values()):
        raise NotStatic("the decorator's name, version and description must be strings")
    name = given.get("name") or flow.function.name.replace("_", "-")
    if _INVALID_IN_NAMES & set(name):
        raise NotStatic(f"'{name}' has characters that Prefect rejects in names")
    docstring = ast.get_docstring(flow.function)
    descriptions = parameter_descriptions(docstring)
    postponed = module.of(flow.names).postpones_annotations
    schema = parameter_schema(flow, descriptions, postponed, unknown)
    return FlowMetadata(
        name=name,
        description=given.get("description") or docstring,
        version=given.get("version") or module.of(flow.source or flow.names).version,
        parameter_schema=schema,
        unknown=tuple(schema["properties"] if not flow.is_certain else unknown or ()),
    )


def _find(module: Module, path: Sequence[str]) -> FlowDefinition:
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


def _decorated(function: Function, names: ModuleNames) -> FlowDefinition:
    decorators = function.decorator_list
    if not decorators:
        raise NotAFlow
    if len(decorators) == 1:
        return _flow(function, decorators[0], names)
    position = next((at for at, each in enumerate(decorators) if _is_flow(each, names)), None)
    if position is None:
        raise NotStatic(f"'{function.name}' has several decorators, which may change it")
    for above in decorators[:position]:
        if not wrapper_of(above, names).is_argument:
            raise NotStatic(f"'@{ast.unparse(above)}' may return something else than the flow")
    below = [wrapper_of(each, names) for each in decorators[position + 1 :]]
    outermost = next((each.names for each in below if not each.is_argument), None)
    return replace(_flow(function, decorators[position], names), source=outermost)


def _is_flow(decorator: ast.expr, names: ModuleNames) -> bool:
    node = _without_call(decorator)
    try:
        return names.qualified_name(node, decorator.lineno) in _FLOW_DECORATORS
    except NotStatic:
        return False


def _method(owner: ast.ClassDef, name: str, names: ModuleNames) -> FlowDefinition:
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


def _called(call: ast.Call, names: ModuleNames) -> FlowDefinition:
    """`name = flow(function)`, with options in this call, or before it: `flow(…)(function)`."""
    unknown = NotStatic(f"what '{ast.unparse(call)}' returns is only known when the code runs")
    if not (call.args and isinstance(call.args[0], ast.Name)):
        raise unknown
    wrapped = call.args[0]
    found, home = names.binding(wrapped.id, call.lineno), names
    if isinstance(found, ImportedName) and names.imports is not None:
        home, parts = names.imports.follow(found.name)
        found = home.binding(parts[0], None) if len(parts) == 1 else None
    if len(call.args) > 1 or not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
        raise unknown
    if found.decorator_list:
        raise NotStatic(f"'{wrapped.id}' has decorators, which may change it")
    if isinstance(call.func, ast.Call):
        if call.keywords:
            raise unknown
        flow = _flow(found, call.func, names, call.lineno)
    else:
        options = ast.Call(func=call.func, args=[], keywords=call.keywords)
        flow = _flow(found, ast.copy_location(options, call), names, call.lineno)
    return replace(flow, names=home, options_names=names)


def _flow(
    function: Function, decorator: ast.expr, names: ModuleNames, line: int | None = None
) -> FlowDefinition:
    if names.qualified_name(_without_call(decorator), decorator.lineno) not in _FLOW_DECORATORS:
        raise NotStatic(f"what '{ast.unparse(decorator)}' returns is only known when the code runs")
    options: Sequence[ast.keyword] = ()
    if isinstance(decorator, ast.Call):
        options = decorator.keywords
        if decorator.args or not {option.arg for option in options} <= _KNOWN_OPTIONS:
            raise NotStatic(f"the arguments of '{ast.unparse(decorator)}' are not all known")
    return FlowDefinition(function, options, line or decorator.lineno, names)


def _without_call(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _find_roughly(module: Module, path: Sequence[str]) -> FlowDefinition:
    """Returns the only function of this name that has a decorator `flow`, wherever it is defined.

    Other decorators and conditions around it may change its signature.
    """
    scope: ast.AST = module.tree
    for owner in path[:-1]:
        owners = [each for each in ast.walk(scope) if _is_class(each, owner)]
        if len(owners) != 1:
            break
        scope = owners[0]
    found = [
        (each, decorator)
        for each in ast.walk(scope)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == path[-1]
        for decorator in each.decorator_list
        if _called_flow(_without_call(decorator))
    ]
    if len(found) != 1:
        raise NotStatic(f"what '{'.'.join(path)}' refers to depends on how the module runs")
    function, decorator = found[0]
    options = decorator.keywords if isinstance(decorator, ast.Call) else []
    if any(option.arg is None for option in options):
        raise NotStatic(f"the arguments of '{ast.unparse(decorator)}' are not all known")
    # Names are looked up as at the end of the module: a condition may bind them anywhere.
    line = len(module.lines) + 1
    is_only = len(function.decorator_list) == 1
    return FlowDefinition(function, options, line, module.names, is_certain=is_only)


def _is_class(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == name


def _called_flow(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).rpartition(".")[2] == "flow"
