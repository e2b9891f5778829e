"""Loads a flow from an entrypoint without Prefect, by the rules of `prefect deploy` 3.9.

A script is run whole. If that fails, mostly because a library is missing, the flow is put together
from the parts of the file that work on their own: imports, classes, functions and assignments of
the top level, one by one; parameters whose annotation or default can't be evaluated go without.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from deployctl.flows.child.stand_in import Flow


class MissingFlowError(Exception):
    """The object of an entrypoint doesn't exist, or isn't a flow."""


class ScriptError(Exception):
    """The code of a script raised an exception, which is the cause of this one."""


def load_flow(entrypoint: str) -> tuple[Flow, Exception | None]:
    """Returns a flow, and the error that kept its script from running to its end, if any.

    Raises MissingFlowError, ScriptError, or what importing the module raised.
    """
    location, _, name = entrypoint.rpartition(":" if ":" in entrypoint else ".")
    is_script = location.endswith(".py")
    try:
        found: Any = _run_script(location) if is_script else _import_module(location)
        for part in name.split("."):
            found = getattr(found, part)
        failure = None
    except AttributeError as error:
        raise MissingFlowError(f"'{location}' has no '{name}'") from error
    except ScriptError as error:
        found, failure = _assemble(location, name.split(".")), error
        if found is None:
            raise
    if not isinstance(found, Flow):
        raise MissingFlowError(f"'{name}' is not a flow")
    return found, failure


def _import_module(name: str) -> ModuleType:
    folder = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, folder)
    return importlib.import_module(name)


def _run_script(path: str) -> ModuleType:
    """Runs a script as a module; the script's folder and the working directory are importable."""
    folder, base = str(Path(path).resolve().parent), os.getcwd()  # noqa: PTH109
    name = Path(path).stem
    if name in sys.modules:
        name = f"__script_{hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()[:16]}__"
    spec: Any = importlib.util.spec_from_file_location(
        name, path, submodule_search_locations=[folder, base]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path[:0] = [folder, base]
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ScriptError(f"'{path}' cannot be run") from error
    return module


def _assemble(path: str, names: list[str]) -> Any:
    """Puts the object `names` of a script together from the parts that work; None if it can't."""
    tree = ast.parse(Path(path).read_bytes(), path)
    sys.path[:0] = [str(Path(path).resolve().parent), str(Path(path).resolve().parent.parent)]
    namespace: dict[str, Any] = {"__name__": "prefect_safe_namespace_loader"}
    _import_what_exists(tree, namespace, Path(path).resolve().parent.name)
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.Assign)):
            with suppress(Exception):
                _execute(node, namespace)
    if names[0] not in namespace:
        definition = _definition(tree, names)
        if definition is None:
            return None
        _drop_what_fails(definition, namespace)
        with suppress(Exception):
            _execute(definition, namespace)
            found = namespace.get(definition.name)
            return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        return None
    found = namespace[names[0]]
    for name in names[1:]:
        found = getattr(found, name, None)
    return found


def _import_what_exists(tree: ast.Module, namespace: dict[str, Any], package: str) -> None:
    """Carries out the imports of the top level, as far as modules and names exist."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                with suppress(Exception):
                    module = importlib.import_module(alias.name)
                    namespace[alias.asname or alias.name] = module
        elif isinstance(node, ast.ImportFrom):
            with suppress(Exception):
                # A script is in no package: `from .a import b` finds what lies beside it, as a
                # submodule of the package that its folder would be.
                name = f"{'.' * node.level}{node.module or ''}"
                module = importlib.import_module(name, package if node.level else None)
                for alias in node.names:
                    if alias.name == "*":
                        public = {k: v for k, v in vars(module).items() if not k.startswith("_")}
                        namespace.update(public)
                    elif hasattr(module, alias.name):
                        namespace[alias.asname or alias.name] = getattr(module, alias.name)


def _definition(
    tree: ast.Module, names: list[str]
) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """Returns the function that `names` refers to, wherever in the file it is defined."""
    scope: Any = tree
    for name in names:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        scope = next(
            (node for node in ast.walk(scope) if isinstance(node, kinds) and node.name == name),
            None,
        )
        if scope is None:
            return None
    return scope if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)) else None


def _drop_what_fails(function: Any, namespace: dict[str, Any]) -> None:
    """Removes annotations that can't be evaluated; defaults that can't become None."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for parameter in (*parameters, arguments.vararg, arguments.kwarg):
        if parameter is not None and not _works(parameter.annotation, namespace):
            parameter.annotation = None
    arguments.defaults = [_or_none(each, function, namespace) for each in arguments.defaults]
    # Prefect 3.9.1 gives keyword-only parameters without a default the default None, too.
    arguments.kw_defaults = [_or_none(each, function, namespace) for each in arguments.kw_defaults]
    if not _works(function.returns, namespace):
        function.returns = None


def _or_none(default: ast.expr | None, function: ast.AST, namespace: dict[str, Any]) -> ast.expr:
    if default is not None and _works(default, namespace):
        return default
    return ast.copy_location(ast.Constant(value=None), default or function)


def _works(node: ast.expr | None, namespace: dict[str, Any]) -> bool:
    """Whether an expression can be evaluated; one that is missing can."""
    if node is None:
        return True
    try:
        eval(_compiled(ast.Expression(node)), namespace)
    except Exception:
        return False
    return True


def _execute(node: ast.stmt, namespace: dict[str, Any]) -> None:
    exec(_compiled(ast.Module(body=[node], type_ignores=[])), namespace)


def _compiled(tree: ast.Module | ast.Expression) -> Any:
    """Compiles user code, without the postponed annotations of this module."""
    mode = "exec" if isinstance(tree, ast.Module) else "eval"
    return compile(tree, "<ast>", mode, dont_inherit=True)
