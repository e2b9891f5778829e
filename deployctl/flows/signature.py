"""The parameter schema of a flow, from the text of its function's signature.

It equals what Prefect 3.9 makes of the signature. In `*args` and `**kwargs` that differs from
Prefect before 3.9, which makes both required, of the type of one item: no run can be started then,
while the runs of every Prefect since 2.20 take a list and a mapping, or neither.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deployctl.core.json_values import Json
from deployctl.flows.annotations import AnnotationTranslator, can_be_evaluated, parse_annotation
from deployctl.flows.constants import ConstantEvaluator, encode_default
from deployctl.flows.names import ModuleNames, NotStatic

Function = ast.FunctionDef | ast.AsyncFunctionDef

_RESERVED = {
    *("return_state", "wait_for", "Config", "model_config", "model_construct", "model_copy"),
    *("model_dump", "model_dump_json", "model_json_schema", "model_parametrized_name"),
    *("model_post_init", "model_rebuild", "model_validate", "model_validate_json"),
    *("model_validate_strings",),
}
"""Names that Prefect, or the model that it makes of a signature, keeps for itself."""
_RESERVED_PREFIXES = ("_", "v__")


@dataclass(frozen=True, slots=True)
class FlowDefinition:
    """A function and the keyword arguments of the `flow` that decorates it."""

    function: Function
    options: Sequence[ast.keyword]
    line: int
    """The line of the decorator, before which the names that it uses must be bound."""
    names: ModuleNames
    is_certain: bool = True
    """Whether nothing else can have changed the signature, as an unknown decorator may."""
    options_names: ModuleNames | None = None
    """The names that the options use, if `flow` is called in another module than the function's."""
    source: ModuleNames | None = None
    """The module that makes the version, if the function is wrapped by one of another module."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One parameter of a signature."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    collects: str = ""
    """`array` for `*args`, `object` for `**kwargs`."""


def parameter_schema(
    flow: FlowDefinition,
    descriptions: dict[str, str],
    postponed: bool,
    unknown: list[str] | None = None,
) -> dict[str, Json]:
    """Returns the schema of a flow's parameters; raises NotStatic if the text doesn't decide it.

    `postponed`: whether the module has `from __future__ import annotations`. With a list `unknown`,
    parameters that are not static get an open schema and are added to it, instead of raising.
    """
    function, names, line = flow.function, flow.names, flow.function.lineno
    annotations = AnnotationTranslator(names, line)
    constants = ConstantEvaluator(names, line)
    reason = _doubt(flow, postponed)
    if reason and unknown is None:
        raise NotStatic(reason)
    properties: dict[str, Json] = {}
    required = []
    for position, parameter in enumerate(_parameters(function.args)):
        name = parameter.name
        if name in ("self", "cls"):
            continue
        shown: dict[str, Json] = {"position": position, "title": name}
        if name in descriptions:
            shown["description"] = descriptions[name]
        try:
            if reason and parameter.annotation is not None:
                raise NotStatic(reason)
            item, is_required = _item(parameter, annotations, constants, postponed)
        except NotStatic:
            if unknown is None:
                raise
            unknown.append(name)
            item, is_required = {}, parameter.default is None and not parameter.collects
        properties[name] = {**item, **shown}
        if is_required:
            required.append(name)
    schema: dict[str, Json] = {"title": "Parameters", "type": "object", "properties": properties}
    if not flow.is_certain:
        schema["additionalProperties"] = True
    elif required:
        schema["required"] = required
    if annotations.definitions:
        schema["definitions"] = annotations.definitions
    return schema


def _doubt(flow: FlowDefinition, postponed: bool) -> str | None:
    """Returns why no annotation of the function is certain, if so."""
    function, returns = flow.function, flow.function.returns
    if getattr(function, "type_params", None):
        return "generic functions are only known when the code runs"
    if returns is not None and (postponed or isinstance(returns, ast.Constant)):
        expression = _parsed(returns, postponed)
        if not can_be_evaluated(expression, flow.names, function.lineno):
            return f"whether the return type '{ast.unparse(returns)}' exists is not certain"
    return None


def _item(
    parameter: _Parameter,
    annotations: AnnotationTranslator,
    constants: ConstantEvaluator,
    postponed: bool,
) -> tuple[dict[str, Json], bool]:
    """Returns type and default of a parameter, and whether it is required."""
    if parameter.name in _RESERVED or parameter.name.startswith(_RESERVED_PREFIXES):
        raise NotStatic(f"Prefect may reject a parameter named '{parameter.name}'")
    item: dict[str, Json] = {}
    if parameter.annotation is not None:
        item = dict(annotations.schema(_parsed(parameter.annotation, postponed)))
    if parameter.collects == "array":
        return {"type": "array", "items": item, "default": []}, False
    if parameter.collects == "object":
        return {"type": "object", "additionalProperties": item or True, "default": {}}, False
    if parameter.default is None or (value := constants.value(parameter.default)) is ...:
        return item, True
    return {**item, "default": encode_default(value)}, False


def _parsed(annotation: ast.expr, postponed: bool) -> ast.expr:
    """Returns the expression of an annotation, parsed if it is a string."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str) and not postponed:
        return parse_annotation(annotation.value)
    return annotation


def _parameters(arguments: ast.arguments) -> Iterator[_Parameter]:
    """Yields all parameters in the order of the signature."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    for each, default in zip(positional, [*missing, *arguments.defaults], strict=True):
        yield _Parameter(each.arg, each.annotation, default)
    if arguments.vararg:
        yield _Parameter(arguments.vararg.arg, arguments.vararg.annotation, None, "array")
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _Parameter(each.arg, each.annotation, default)
    if arguments.kwarg:
        yield _Parameter(arguments.kwarg.arg, arguments.kwarg.annotation, None, "object")
