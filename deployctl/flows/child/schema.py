"""The parameter schema of a flow, made with pydantic as Prefect 3.9 makes it.

Prefect builds a pydantic model from a function's signature and sends its JSON Schema. A parameter
for which pydantic has no schema counts as `Any`; a class that pydantic doesn't know gets the empty
schema. Compared with the real Prefect in `tests/corpus`.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pydantic
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from deployctl.flows.child import stand_in

_KEPT = ("title", "type", "properties", "required", "definitions")
_UNUSABLE = (ValueError, TypeError, PydanticInvalidForJsonSchema)
"""What pydantic raises for a type of which it can make no schema."""


class _OpenClasses(GenerateJsonSchema):
    """Gives classes that pydantic doesn't know the empty schema, instead of an error."""

    def is_instance_schema(self, _: core_schema.IsInstanceSchema) -> dict[str, Any]:
        """Returns the empty schema."""
        return {}


def describe(flow: Any) -> dict[str, Any]:
    """Returns the schema of a flow's parameters, the names of those that are not known, and the
    docstring that describes them: the parent process reads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names and defaults of the user's
        return _describe(flow.fn)


def _describe(function: Callable[..., Any]) -> dict[str, Any]:
    signature = _signature(function)
    build, field = (_build_1, _field_1) if _has_pydantic_1(signature) else (_build_2, _field_2)
    fields: dict[str, Any] = {}
    unknown = []
    for position, parameter in enumerate(signature.parameters.values()):
        if parameter.name in ("self", "cls"):
            continue
        type_ = _type(parameter)
        name, definition = field(parameter, position)
        stand_in.used_types.clear()
        try:
            build("CheckParameter", {name: (type_, definition)})
        except _UNUSABLE:
            type_ = Any
        if stand_in.used_types or stand_in.is_placeholder(parameter.default):
            unknown.append(parameter.name)
            type_ = Any
        fields[name] = (type_, definition)
    schema = build("Parameters", fields)
    for name in unknown:
        schema["properties"][name].pop("default", None)
    required = [name for name in schema.get("required", ()) if name not in unknown]
    schema["required"] = required
    kept = {key: schema[key] for key in _KEPT if schema.get(key) or key == "properties"}
    docstring = inspect.getdoc(function)
    return {"parameter_schema": kept, "unknown": unknown, "docstring": docstring}


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """Returns the signature, with annotations that are text evaluated if all of them can be."""
    try:
        return inspect.signature(function, eval_str=True)
    except (NameError, TypeError):
        return inspect.signature(function)


def _type(parameter: inspect.Parameter) -> Any:
    type_ = Any if parameter.annotation is parameter.empty else parameter.annotation
    if parameter.kind is parameter.VAR_POSITIONAL:
        return list[type_]  # type: ignore[valid-type]
    if parameter.kind is parameter.VAR_KEYWORD:
        return dict[str, type_]  # type: ignore[valid-type]
    return type_


def _default(parameter: inspect.Parameter, value: Any) -> Any:
    """Returns a field's default; `...` makes it required."""
    if parameter.kind is parameter.VAR_POSITIONAL:
        return []
    if parameter.kind is parameter.VAR_KEYWORD:
        return {}
    return ... if value is parameter.empty else value


def _name(parameter: inspect.Parameter, model: type) -> tuple[str, str | None]:
    """Returns the name of a field and its alias: models can have no field of a method's name."""
    if hasattr(model, parameter.name):
        return f"{parameter.name}__", parameter.name
    return parameter.name, None


def _field_2(parameter: inspect.Parameter, position: int) -> tuple[str, Any]:
    """Returns name and definition of a field. Of a default `Field(…)`, Prefect keeps three parts:
    default, description and a mapping for the schema."""
    name, alias = _name(parameter, pydantic.BaseModel)
    value: Any = parameter.default
    extra: dict[str, Any] = {"position": position}
    description = None
    if isinstance(value, FieldInfo):
        description = value.description or None
        if isinstance(value.json_schema_extra, dict):
            extra = {**extra, **value.json_schema_extra}
        value = value.default
    definition = pydantic.Field(
        default=_default(parameter, value),
        title=parameter.name,
        description=description,
        alias=alias,
        json_schema_extra=extra,
    )
    return name, definition


def _build_2(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    model: Any = pydantic.create_model(name, __config__=config, **fields)
    try:
        schema: dict[str, Any] = pydantic.TypeAdapter(model).json_schema(
            by_alias=True, ref_template="#/definitions/{model}", schema_generator=_OpenClasses
        )
    except pydantic.PydanticUndefinedAnnotation as error:
        raise TypeError(error.message) from error
    except PydanticUserError as error:
        if error.code == "class-not-fully-defined":
            raise TypeError(str(error)) from error
        raise
    if "$defs" in schema:
        schema["definitions"] = schema.pop("$defs")
    return schema


def _has_pydantic_1(signature: inspect.Signature) -> bool:
    """Whether an annotation is a model or a type of pydantic 1, or a collection of one."""
    types = [parameter.annotation for parameter in signature.parameters.values()]
    inner = [each for type_ in types for each in getattr(type_, "__args__", ())]
    bases = [base for type_ in (*types, *inner) for base in getattr(type_, "__mro__", ())]
    return any(str(base.__module__).startswith("pydantic.v1") for base in bases)


def _field_1(parameter: inspect.Parameter, position: int) -> tuple[str, Any]:
    from pydantic import v1

    name, alias = _name(parameter, v1.BaseModel)
    definition = v1.Field(
        default=_default(parameter, parameter.default),
        title=parameter.name,
        alias=alias,
        position=position,
    )
    return name, definition


def _build_1(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    from pydantic import v1

    class Config(v1.BaseConfig):
        """Lets classes that pydantic doesn't know be types of fields."""

        arbitrary_types_allowed = True

    model: Any = v1.create_model(name, __config__=Config, **fields)
    schema: dict[str, Any] = model.schema(by_alias=True)
    return schema
