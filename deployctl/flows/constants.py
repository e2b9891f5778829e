"""Constant expressions in the text of a module: their values, and the JSON of a default.

Names are followed to other modules of the project, and environment variables have the values that
an import would see. A value becomes JSON as in pydantic, which writes the defaults in Prefect's
schemas.
"""

from __future__ import annotations

import ast
import math
import operator
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from deployctl.core.json_values import Json
from deployctl.flows.enums import enum_members
from deployctl.flows.names import ModuleNames, NotStatic
from deployctl.flows.safe_calls import (
    FUNCTIONS,
    VALUES,
    EnumMember,
    SecretValue,
    attribute,
    call_method,
    is_immutable,
    is_plain,
    operate,
)

_GETENV = ("os.getenv", "os.environ.get")
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_CONVERSIONS: dict[int, Callable[[Any], str]] = {-1: lambda each: each, 114: repr, 115: str}


class ConstantEvaluator:
    """Evaluates constant expressions of a module at a given line."""

    def __init__(self, names: ModuleNames, line: int) -> None:
        self._names = names
        self._line = line

    def value(self, node: ast.expr) -> Any:
        """Returns the value of an expression; raises NotStatic if it is not constant."""
        try:
            return self._value(node)
        except (ArithmeticError, ValueError, TypeError, AttributeError, LookupError) as error:
            raise self._not_constant(node) from error
        except RecursionError as error:
            raise NotStatic("a constant is defined by itself") from error

    def text(self, node: ast.expr) -> str:
        """Returns the value of a string expression; raises NotStatic for any other."""
        if isinstance(text := self.value(node), str):
            return text
        raise self._not_constant(node)

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.List(elts=items):
                return [self._value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._value(item) for item in items)
            case ast.Set(elts=items):
                return {self._value(item) for item in items}
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return {
                    self._value(key): self._value(value)
                    for key, value in zip(keys, values, strict=True)
                    if key is not None
                }
            case ast.BinOp(op=op, left=left, right=right):
                return operate(type(op), self._value(left), self._value(right))
            case ast.JoinedStr(values=parts):
                return "".join(self._fstring_part(part) for part in parts)
            case ast.Subscript(value=owner, slice=index):
                return self._subscript(owner, index)
            case ast.Call():
                return self._call(node)
            case ast.Name() | ast.Attribute():
                return self._name(node)
        return self._decision(node)

    def _decision(self, node: ast.expr) -> Any:
        """Evaluates operators that depend on the truth of their operands."""
        match node:
            case ast.UnaryOp(op=op, operand=operand):
                value = self._plain(operand)
                return _UNARY[type(op)](value)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._value(body if self._plain(test) else orelse)
            case ast.BoolOp(op=op, values=[*earlier, last]):
                for each in earlier:
                    value = self._plain(each)
                    if bool(value) == isinstance(op, ast.Or):
                        return value
                return self._value(last)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _COMPARISONS[type(op)](self._plain(left), self._plain(right))
        raise self._not_constant(node)

    def _plain(self, node: ast.expr) -> Any:
        if is_plain(value := self._value(node)):
            return value
        raise self._not_constant(node)

    def _fstring_part(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.FormattedValue(value=inner, conversion=conversion, format_spec=spec):
                value = _CONVERSIONS[conversion](self._plain(inner))
                if type(value) in (str, int, float, bool, PurePosixPath, type(None), date, Decimal):
                    return format(value, self.text(spec) if spec is not None else "")
        raise self._not_constant(node)

    def _subscript(self, owner: ast.expr, index: ast.expr) -> Any:
        """Evaluates `CONFIG["key"]`, `PATH.parents[1]` and `os.environ["NAME"]`."""
        if self._qualified_name(owner) == "os.environ":
            return self._environ()[self.text(index)]
        if self._is_enum(owner):
            return self._enum(owner)[self.text(index)]
        value = self._read_only(owner)
        return value[self._plain(index)]

    def _call(self, node: ast.Call) -> Any:
        if any(keyword.arg is None for keyword in node.keywords):
            raise self._not_constant(node)
        args = [self._value(arg) for arg in node.args]
        named = {str(keyword.arg): self._value(keyword.value) for keyword in node.keywords}
        full = self._qualified_name(node.func)
        if full in _GETENV and 0 < len(args) + len(named) <= 2:
            key = args[0] if args else named["key"]
            default = args[1] if len(args) > 1 else named.get("default")
            found = self._environ().get(key)
            return default if found is None else found
        if full in FUNCTIONS:
            # The order of a set of strings differs from one process to the next.
            is_ordered = full in ("builtins.list", "builtins.tuple", "builtins.str")
            has_set = any(isinstance(arg, set | frozenset) for arg in args)
            if not is_plain([args, named]) or (is_ordered and has_set):
                raise self._not_constant(node)
            return FUNCTIONS[full](*args, **named)
        if isinstance(node.func, ast.Attribute):
            try:
                value = self._read_only(node.func.value)
            except NotStatic as error:
                raise self._not_constant(node) from error
            if node.func.attr == "get" and isinstance(value, dict):
                return value.get(*args)
            return call_method(value, node.func.attr, args, named)
        raise self._not_constant(node)

    def _environ(self) -> Any:
        if self._names.imports is None:
            raise NotStatic("the environment is only known when the code runs")
        return self._names.imports.environ()

    def _qualified_name(self, node: ast.expr) -> str:
        """Returns the full name of a library's function or value; otherwise an empty string."""
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or root.id == "__file__":
            return ""
        return self._names.qualified_name(node, self._line) or ""

    def _name(self, node: ast.Name | ast.Attribute) -> Any:
        if isinstance(node, ast.Name) and node.id == "__file__" and self._names.imports:
            return str(self._names.imports.file)
        full = self._qualified_name(node)
        if full in VALUES:
            return VALUES[full]
        if full and not full.startswith("builtins."):
            return self._foreign(node, full)
        if not full and isinstance(node, ast.Name):
            return self._assigned(node)
        if not full and isinstance(node, ast.Attribute):
            if self._is_enum(node.value) and node.attr in (members := self._enum(node.value)):
                return EnumMember(node.attr, members[node.attr])
            if (owner := self._class(node.value)) is not None:
                return self._class_attribute(owner, node)
            return attribute(self._value(node.value), node.attr)
        raise self._not_constant(node)

    def _foreign(self, node: ast.expr, full: str) -> Any:
        """Evaluates a name that another module of the project defines."""
        if self._names.imports is None:
            raise self._not_constant(node)
        try:
            names, parts = self._names.imports.follow(full)
        except NotStatic as error:
            if isinstance(node, ast.Attribute):
                # The name may go on with attributes of a value: `SETTINGS_PATH.name`.
                return attribute(self._value(node.value), node.attr)
            raise self._not_constant(node) from error
        there: ast.expr = ast.Name(parts[0], ctx=ast.Load())
        for part in parts[1:]:
            there = ast.Attribute(there, part, ctx=ast.Load())
        value = ConstantEvaluator(names, sys.maxsize).value(ast.fix_missing_locations(there))
        root = next(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
        if self._names.is_assigned_to(root):
            raise self._not_constant(node)
        if is_immutable(value) or self._names.is_never_modified(root):
            return value
        raise self._not_constant(node)

    def _assigned(self, node: ast.Name) -> Any:
        """Returns the value of a module-level name, if it cannot have changed since."""
        value = self._read_only(node)
        if is_immutable(value) or self._names.is_never_modified(node.id):
            return value
        raise self._not_constant(node)

    def _read_only(self, node: ast.expr) -> Any:
        """Returns a value of which only a part is read."""
        if not isinstance(node, ast.Name) or self._qualified_name(node):
            return self._value(node)
        definition = self._names.definition(node.id, self._line)
        if isinstance(definition, ast.Assign | ast.AnnAssign) and definition.value is not None:
            value = ConstantEvaluator(self._names, definition.lineno)._value(definition.value)
            if is_immutable(value) or self._names.is_never_modified(node.id):
                return value
        raise self._not_constant(node)

    def _class(self, node: ast.expr) -> ast.ClassDef | None:
        """Returns the class of this module that an expression refers to, if it is one."""
        if isinstance(node, ast.Name):
            if self._qualified_name(node):
                return None
            found: object = self._names.definition(node.id, self._line)
            return found if isinstance(found, ast.ClassDef) else None
        if isinstance(node, ast.Attribute) and (owner := self._class(node.value)) is not None:
            inner = [each for each in owner.body if _defines(each, node.attr)]
            if len(inner) == 1 and isinstance(inner[0], ast.ClassDef):
                return inner[0]
        return None

    def _class_attribute(self, owner: ast.ClassDef, node: ast.Attribute) -> Any:
        """Evaluates an attribute of a class that only holds constants."""
        found = [each for each in owner.body if _defines(each, node.attr)]
        plain = not (owner.bases or owner.keywords or owner.decorator_list)
        if plain and len(found) == 1 and isinstance(found[0], ast.Assign | ast.AnnAssign):
            within = self._names.within_class(owner.body)
            value = found[0].value and ConstantEvaluator(within, owner.lineno).value(found[0].value)
            if is_immutable(value) and not self._names.is_assigned_to(owner.name):
                return value
        raise self._not_constant(node)

    def _is_enum(self, node: ast.expr) -> bool:
        try:
            return bool(self._enum(node))
        except NotStatic:
            return False

    def _enum(self, node: ast.expr) -> dict[str, Any]:
        definition = self._class(node)
        if definition is None:
            raise self._not_constant(node)
        return module_enum(definition, self._names)

    @staticmethod
    def _not_constant(node: ast.expr) -> NotStatic:
        return NotStatic(f"the value of '{ast.unparse(node)}' is only known when the code runs")


def module_enum(definition: ast.ClassDef, names: ModuleNames) -> dict[str, Any]:
    """Returns the members of an Enum class; raises NotStatic if it is no Enum, or not certain."""

    def evaluate(within: ModuleNames, node: ast.expr) -> Any:
        """Evaluates the value of a member."""
        return ConstantEvaluator(within, definition.lineno).value(node)

    return enum_members(definition, names, evaluate)


def _defines(statement: ast.stmt, name: str) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id=found)]) | ast.AnnAssign(target=ast.Name(id=found)):
            return found == name
        case ast.ClassDef(name=found) | ast.FunctionDef(name=found):
            return found == name
    return False


def encode_default(value: Any) -> Json:
    """Returns a default as pydantic writes it into JSON Schema; raises NotStatic if uncertain."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None  # as Prefect sends infinity and NaN
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        case EnumMember(value=inner):
            return encode_default(inner)
        case SecretValue(is_empty=is_empty):
            return "" if is_empty else "**********"
        case datetime() if value.tzinfo in (None, UTC):
            return value.isoformat().replace("+00:00", "Z")
        case time() if value.tzinfo is None:
            return value.isoformat()
        case timedelta():
            return _duration(value)
        case list() | tuple():
            return [encode_default(item) for item in value]
        case set() | frozenset() if len(value) < 2 or all(type(each) is int for each in value):
            # The order of other sets differs from one process to the next.
            return [encode_default(item) for item in value]
        case dict() if all(type(key) in (str, int) for key in value):
            return {str(key): encode_default(item) for key, item in value.items()}
        case PurePosixPath() | UUID() | Decimal():
            return str(value)
    if type(value) is date:
        return value.isoformat()
    kind = type(value).__name__
    raise NotStatic(f"the JSON of a default of type '{kind}' is only known when the code runs")


def _duration(span: timedelta) -> str:
    """Formats ISO 8601 as pydantic does: years of 365 days, days, hours, minutes, seconds."""
    sign, span = ("-", -span) if span < timedelta(0) else ("", span)
    years, days = divmod(span.days, 365)
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{span.microseconds:06}".rstrip("0") if span.microseconds else ""
    day = "".join(f"{count}{unit}" for count, unit in ((years, "Y"), (days, "D")) if count)
    clock = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count)
    if seconds or fraction:
        clock += f"{seconds}{fraction}S"
    if not day and not clock:
        return "PT0S"
    return f"{sign}P{day}" + (f"T{clock}" if clock else "")
