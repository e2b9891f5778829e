"""Constant expressions in the text of a module: their values, and the JSON of a default.

Expressions are evaluated with the few functions of the standard library that Python itself would
call (`timedelta(hours=1)`, `Path("data")`), so that none has to be imitated. A value becomes
JSON as in pydantic, which writes the defaults in Prefect's schemas.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from deployctl.core.json_values import Json
from deployctl.flows.names import ModuleNames, NotStatic


@dataclass(frozen=True, slots=True)
class SecretValue:
    """A `SecretStr`, without its value."""

    is_empty: bool


@dataclass(frozen=True, slots=True)
class EnumMember:
    """A member of an Enum."""

    value: Any


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "builtins.dict": dict,
    "builtins.frozenset": frozenset,
    "builtins.list": list,
    "builtins.set": set,
    "builtins.tuple": tuple,
    "datetime.date": date,
    "datetime.datetime": datetime,
    "datetime.time": time,
    "datetime.timedelta": timedelta,
    "datetime.timezone": timezone,
    "decimal.Decimal": Decimal,
    "pathlib.Path": PurePosixPath,
    "pathlib.PurePath": PurePosixPath,
    "pydantic.SecretStr": lambda text: SecretValue(not text),
    "uuid.UUID": UUID,
}
_VALUES: dict[str, Any] = {"datetime.timezone.utc": UTC, "datetime.UTC": UTC}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_NUMBERS = (int, float, timedelta)
_IMMUTABLE = (
    *(str, int, float, bytes, date, time, timedelta, timezone, Decimal, UUID, PurePosixPath),
    *(SecretValue, EnumMember, type(None), type(...)),
)


class ConstantEvaluator:
    """Evaluates constant expressions of a module at a given line."""

    def __init__(self, names: ModuleNames, line: int) -> None:
        self._names = names
        self._line = line

    def value(self, node: ast.expr) -> Any:
        """Returns the value of an expression; raises NotStatic if it is not constant."""
        try:
            return self._value(node)
        except (ArithmeticError, ValueError, TypeError, AttributeError) as error:
            raise self._not_constant(node) from error

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
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                number = self._number(operand)
                return -number if isinstance(node.op, ast.USub) else +number
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
                return self._binary_operation(node, op, self._value(left), self._value(right))
            case ast.JoinedStr(values=parts):
                return "".join(self._fstring_part(part) for part in parts)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self._call(node, function, args, keywords)
            case ast.Name() | ast.Attribute():
                return self._name(node)
        raise self._not_constant(node)

    def _number(self, node: ast.expr) -> Any:
        if type(number := self._value(node)) in _NUMBERS:
            return number
        raise self._not_constant(node)

    def _binary_operation(self, node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
        texts = isinstance(op, ast.Add) and isinstance(left, str) and isinstance(right, str)
        if texts or (type(left) in _NUMBERS and type(right) in _NUMBERS):
            return _OPERATORS[type(op)](left, right)
        raise self._not_constant(node)

    def _fstring_part(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.FormattedValue(value=inner, conversion=-1, format_spec=None):
                value = self._value(inner)
                if type(value) in (str, int):
                    return str(value)
        raise self._not_constant(node)

    def _call(
        self, node: ast.expr, function: ast.expr, args: list[ast.expr], keywords: list[ast.keyword]
    ) -> Any:
        callable_ = _FUNCTIONS.get(self._names.qualified_name(function, self._line) or "")
        if callable_ is None or any(keyword.arg is None for keyword in keywords):
            raise self._not_constant(node)
        named = {str(keyword.arg): self._value(keyword.value) for keyword in keywords}
        return callable_(*(self._value(arg) for arg in args), **named)

    def _name(self, node: ast.Name | ast.Attribute) -> Any:
        full = self._names.qualified_name(node, self._line)
        if full is not None and full in _VALUES:
            return _VALUES[full]
        if full is None and isinstance(node, ast.Name):
            return self._assigned_value(node)
        if full is None and isinstance(node, ast.Attribute):
            if node.attr == "value" and isinstance(member := self._value(node.value), EnumMember):
                return member.value
            if isinstance(node.value, ast.Name):
                return self._enum_member(node.value, node.attr)
        raise self._not_constant(node)

    def _assigned_value(self, node: ast.Name) -> Any:
        """Returns the value of a module-level name, if it cannot have changed since."""
        definition = self._names.definition(node.id, self._line)
        if isinstance(definition, ast.Assign | ast.AnnAssign) and definition.value is not None:
            value = ConstantEvaluator(self._names, definition.lineno)._value(definition.value)
            if _is_immutable(value):
                return value
        raise self._not_constant(node)

    def _enum_member(self, owner: ast.Name, name: str) -> EnumMember:
        definition = self._names.definition(owner.id, self._line)
        if isinstance(definition, ast.ClassDef):
            members = enum_members(definition, self._names)
            if name in members:
                return EnumMember(members[name])
        raise self._not_constant(owner)

    @staticmethod
    def _not_constant(node: ast.expr) -> NotStatic:
        return NotStatic(f"the value of '{ast.unparse(node)}' is only known when the code runs")


def _is_immutable(value: Any) -> bool:
    """Whether a value cannot be modified in place."""
    if isinstance(value, tuple | frozenset):
        return all(map(_is_immutable, value))
    return isinstance(value, _IMMUTABLE)


_ENUM_TYPES: dict[tuple[str, ...], type | None] = {
    ("enum.Enum",): None,
    ("enum.IntEnum",): int,
    ("enum.StrEnum",): str,
    ("builtins.str", "enum.Enum"): str,
    ("builtins.int", "enum.Enum"): int,
    ("builtins.float", "enum.Enum"): float,
}
_ALLOWED_DUNDERS = {"__str__", "__repr__", "__hash__", "_missing_"}


def enum_members(definition: ast.ClassDef, names: ModuleNames) -> dict[str, Any]:
    """Returns the members of an Enum class and their values, in order.

    Raises NotStatic if the class is not an Enum, or one that may compute its members.
    """
    not_static = NotStatic(f"the class '{definition.name}' is only known when the code runs")
    bases = tuple(names.qualified_name(base, definition.lineno) or "" for base in definition.bases)
    only_unique = all(
        names.qualified_name(decorator, definition.lineno) == "enum.unique"
        for decorator in definition.decorator_list
    )
    if bases not in _ENUM_TYPES or definition.keywords or not only_unique:
        raise not_static
    kind = _ENUM_TYPES[bases]
    within_class = names.within_class(definition.body)
    members: dict[str, Any] = {}
    for statement in definition.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=node) if name not in members:
                auto = _auto_value(bases, name, members, node, within_class)
                value = (
                    ConstantEvaluator(within_class, definition.lineno).value(node)
                    if auto is None
                    else auto
                )
                is_plain = type(value) in (str, int, float, bool) if kind is None else None
                if name.startswith("_") or not (is_plain or type(value) is kind):
                    raise not_static
                members[name] = value
            case ast.FunctionDef(name=name) if name[0] != "_" or name in _ALLOWED_DUNDERS:
                continue
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                continue
            case _:
                raise not_static
    if not members:
        raise not_static
    return members


def _auto_value(
    bases: tuple[str, ...], name: str, members: dict[str, Any], node: ast.expr, names: ModuleNames
) -> str | int | None:
    """Returns the value of `auto()`; None for any other expression."""
    if (
        not isinstance(node, ast.Call)
        or names.qualified_name(node.func, node.lineno) != "enum.auto"
    ):
        return None
    if bases == ("enum.StrEnum",):
        return name.lower()
    if bases[0].startswith("enum.") and all(type(value) is int for value in members.values()):
        return max(members.values(), default=0) + 1
    raise NotStatic(f"the value of '{name}' is only known when the code runs")


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
        case set() | frozenset() if len(value) < 2:  # the order of more is not reproducible
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
