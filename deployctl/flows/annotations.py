"""The JSON Schema of a parameter's type, from the text of its annotation.

Covers the types of the standard library that flows use, and reproduces what pydantic 2 makes of
them in Prefect's schemas; a test compares each with the real one. Models, dataclasses and other
types with their own schema are left to the project's interpreter.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Sequence

from deployctl.core.json_values import Json, canonical_json
from deployctl.flows.constants import ConstantEvaluator, module_enum
from deployctl.flows.names import ModuleNames, NotStatic

Schema = dict[str, Json]


def _string(form: str) -> Schema:
    return {"format": form, "type": "string"}


_NULL: Schema = {"type": "null"}
_SIMPLE: dict[str, Schema] = {
    "builtins.bool": {"type": "boolean"},
    "builtins.bytes": _string("binary"),
    "builtins.float": {"type": "number"},
    "builtins.int": {"type": "integer"},
    "builtins.object": {},
    "builtins.str": {"type": "string"},
    "datetime.date": _string("date"),
    "datetime.datetime": _string("date-time"),
    "datetime.time": _string("time"),
    "datetime.timedelta": _string("duration"),
    "decimal.Decimal": {"anyOf": [{"type": "number"}, {"type": "string"}]},
    "pathlib.Path": _string("path"),
    "pathlib.PurePath": _string("path"),
    "prefect.types.DateTime": _string("date-time"),
    "prefect.types.NonNegativeFloat": {"minimum": 0.0, "type": "number"},
    "prefect.types.NonNegativeInteger": {"minimum": 0, "type": "integer"},
    "prefect.types.PositiveInteger": {"exclusiveMinimum": 0, "type": "integer"},
    "pydantic.SecretStr": {**_string("password"), "writeOnly": True},
    "typing.Any": {},
    "typing.Text": {"type": "string"},
    "uuid.UUID": _string("uuid"),
}
_TYPING = ("typing.", "typing_extensions.", "collections.abc.", "builtins.")
_LISTS = {"list", "List", "Sequence", "MutableSequence", "Iterable"}
_SETS = {"set", "Set", "frozenset", "FrozenSet", "AbstractSet"}
_MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping"}
_LITERAL_TYPES: dict[type, str] = {str: "string", int: "integer", bool: "boolean"}


class AnnotationTranslator:
    """Translates the annotations of one function; collects the Enums they use in `definitions`."""

    def __init__(self, names: ModuleNames, line: int) -> None:
        self._names = names
        self._line = line
        self.definitions: dict[str, Json] = {}

    def schema(self, node: ast.expr) -> Schema:
        """Returns the schema of an annotation; raises NotStatic if the text doesn't decide it."""
        match node:
            case ast.Constant(value=None):
                return _NULL
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                return self._union([left, right])
            case ast.Subscript(value=value, slice=arguments):
                return self._generic(node, value, arguments)
            case ast.Name() | ast.Attribute():
                full = self._names.qualified_name(node, self._line)
                if full is None and isinstance(node, ast.Name):
                    return self._module_type(node)
                try:
                    return self._library_type(node, full or "")
                except NotStatic:
                    return self._foreign_type(node, full or "")
        raise _unknown(node)

    def _library_type(self, node: ast.expr, full: str) -> Schema:
        full = full.replace("typing_extensions.", "typing.")
        if full in _SIMPLE:
            return dict(_SIMPLE[full])
        kind = _collection(full)
        if kind in _MAPPINGS:
            return {"additionalProperties": True, "type": "object"}
        if kind in _LISTS or kind in ("tuple", "Tuple"):
            return {"items": {}, "type": "array"}
        if kind in _SETS:
            return {"items": {}, "type": "array", "uniqueItems": True}
        raise _unknown(node)

    def _foreign_type(self, node: ast.expr, full: str) -> Schema:
        """Translates a type that another module of the project defines."""
        if self._names.imports is None:
            raise _unknown(node)
        try:
            names, parts = self._names.imports.follow(full)
        except NotStatic as error:
            raise _unknown(node) from error
        if len(parts) != 1:
            raise _unknown(node)
        there = AnnotationTranslator(names, sys.maxsize)
        there.definitions = self.definitions
        return there._module_type(ast.Name(parts[0], ctx=ast.Load()))

    def _module_type(self, node: ast.Name) -> Schema:
        """Translates a type that the module defines: an Enum, an alias or a NewType."""
        definition = self._names.definition(node.id, self._line)
        match definition:
            case ast.ClassDef():
                return self._enum(definition)
            case ast.Assign(value=ast.expr() as value) | ast.AnnAssign(value=ast.expr() as value):
                if isinstance(value, ast.Call):
                    return self._new_type(value)
                return self._schema_at(definition.lineno, value)
        raise _unknown(node)

    def _new_type(self, call: ast.Call) -> Schema:
        full = self._names.qualified_name(call.func, call.lineno)
        if full in ("typing.NewType", "typing_extensions.NewType") and len(call.args) == 2:
            return self._schema_at(call.lineno, call.args[1])
        raise _unknown(call)

    def _schema_at(self, line: int, node: ast.expr) -> Schema:
        translator = AnnotationTranslator(self._names, line)
        translator.definitions = self.definitions
        return translator.schema(node)

    def _enum(self, definition: ast.ClassDef) -> Schema:
        values = list(module_enum(definition, self._names).values())
        schema: Schema = {"enum": values, "title": definition.name}
        if docstring := ast.get_docstring(definition):
            schema["description"] = docstring
        types = {type(value) for value in values}
        if len(types) == 1:
            schema["type"] = {**_LITERAL_TYPES, float: "number"}[types.pop()]
        if self.definitions.setdefault(definition.name, schema) != schema:
            raise NotStatic(f"two types have the name '{definition.name}'")
        return {"$ref": f"#/definitions/{definition.name}"}

    def _generic(self, node: ast.expr, value: ast.expr, arguments: ast.expr) -> Schema:
        full = self._names.qualified_name(value, self._line) or ""
        items = arguments.elts if isinstance(arguments, ast.Tuple) else [arguments]
        match full.replace("typing_extensions.", "typing."):
            case "typing.Optional" if len(items) == 1:
                return self._union([*items, ast.Constant(value=None)])
            case "typing.Union":
                return self._union(items)
            case "typing.Literal":
                return self._literal(node, items)
            case "typing.Annotated" if all(_is_string(item) for item in items[1:]):
                return self.schema(items[0])
        kind = _collection(full)
        if kind in _MAPPINGS and len(items) == 2:
            return self._mapping(*items)
        if kind in ("tuple", "Tuple"):
            return self._tuple(items)
        if kind in _LISTS and len(items) == 1:
            return {"items": self.schema(items[0]), "type": "array"}
        if kind in _SETS and len(items) == 1:
            return {"items": self.schema(items[0]), "type": "array", "uniqueItems": True}
        raise _unknown(node)

    def _union(self, nodes: Sequence[ast.expr]) -> Schema:
        """Translates a union: flat, without duplicates, null last."""
        members = list(self._members(nodes))
        schemas = _distinct(member for member in members if member != _NULL)
        if _NULL in members:
            schemas.append(_NULL)
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _members(self, nodes: Iterable[ast.expr]) -> Iterable[Schema]:
        for node in nodes:
            schema = self.schema(node)
            yield from schema["anyOf"] if list(schema) == ["anyOf"] else [schema]

    def _mapping(self, key: ast.expr, value: ast.expr) -> Schema:
        keys = self.schema(key)
        schema: Schema = {"additionalProperties": self.schema(value) or True, "type": "object"}
        if "$ref" in keys or "anyOf" in keys:
            raise _unknown(key)
        if keys.pop("type", None) == "string" and keys:
            schema["propertyNames"] = keys
        return schema

    def _tuple(self, items: Sequence[ast.expr]) -> Schema:
        match items:
            case [item, ast.Constant(value=value)] if value is ...:
                return {"items": self.schema(item), "type": "array"}
        schema: Schema = {"maxItems": len(items), "minItems": len(items), "type": "array"}
        if items:
            schema["prefixItems"] = [self.schema(item) for item in items]
        return schema

    def _literal(self, node: ast.expr, items: Sequence[ast.expr]) -> Schema:
        constants = ConstantEvaluator(self._names, self._line)
        values = [constants.value(item) for item in items]
        types = {type(value) for value in values}
        if not types <= {*_LITERAL_TYPES, type(None)}:
            raise _unknown(node)
        values = _distinct(values)
        schema: Schema = {"const": values[0]} if len(values) == 1 else {"enum": values}
        if len(types) == 1:
            schema["type"] = {**_LITERAL_TYPES, type(None): "null"}[types.pop()]
        return schema


def can_be_evaluated(node: ast.expr, names: ModuleNames, line: int) -> bool:
    """Whether evaluating a return annotation succeeds for certain.

    Prefect evaluates all string annotations of a function together, and if one fails, uses none.
    """
    try:
        for part in ast.walk(node):
            match part:
                case ast.Name():
                    if names.qualified_name(part, line) is None:
                        names.definition(part.id, line)
                case ast.Constant(value=str()):
                    return False
                case ast.Attribute() | ast.Subscript() | ast.Tuple() | ast.List() | ast.Constant():
                    pass
                case ast.BinOp(op=ast.BitOr()) | ast.BitOr() | ast.expr_context():
                    pass
                case _:
                    return False
    except NotStatic:
        return False
    return True


def parse_annotation(text: str) -> ast.expr:
    """Parses a string annotation; raises NotStatic if it is not an expression."""
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        raise NotStatic(f"the annotation {text!r} is not an expression") from error


def _collection(full: str) -> str:
    """Returns the short name of a collection type from any of its modules, else ""."""
    package, _, name = full.rpartition(".")
    if full == "collections.abc.Set":
        return "AbstractSet"
    return name if f"{package}." in _TYPING else ""


def _is_string(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _distinct(values: Iterable[Json]) -> list[Json]:
    return list({canonical_json(value): value for value in values}.values())


def _unknown(node: ast.expr) -> NotStatic:
    return NotStatic(
        f"the schema of the type '{ast.unparse(node)}' is only known when the code runs"
    )
