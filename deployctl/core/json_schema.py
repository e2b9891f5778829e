"""Errors of JSON Schema validation in words, without the value, which may be a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployctl.core.fix import Quote
from deployctl.core.json_values import Json, JsonPath

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
    "null": "null",
}


_PLAIN: dict[str, Any] = {"string": str, "boolean": bool, "integer": int, "number": int | float}
_ANNOTATIONS = frozenset({"title", "description", "type", "default", "position"})
"""Keywords of a schema that asks for nothing but a type."""


def is_plainly_valid(value: Json, schema: Json) -> bool:
    """Whether a value has the type that is all that its schema asks for.

    False leaves the question to jsonschema, whose import is a tenth of an unchanged redeploy.
    """
    if not isinstance(schema, dict) or not _ANNOTATIONS.issuperset(schema):
        return False
    kind = schema.get("type")
    plain = _PLAIN.get(kind) if isinstance(kind, str) else None
    return (
        plain is not None
        and isinstance(value, plain)
        and isinstance(value, bool) == (plain is bool)
    )


def most_specific(error: ValidationError) -> ValidationError:
    """The most specific error: of alternatives, the one deepest in the value."""
    inner = max(map(most_specific, error.context or ()), key=_depth, default=error)
    return inner if _depth(inner) > _depth(error) else error


def describe_expected(error: ValidationError, source: str) -> str:
    """What the schema requires, in words.

    `source` names the owner of the schema, for keywords without words of their own.
    """
    required: Any = error.validator_value
    match error.validator:
        case "type":
            types = [required] if isinstance(required, str) else required
            return " or ".join(_TYPES.get(name, name) for name in types)
        case "const":
            return f"'{required}'"
        case "enum":
            return "one of " + ", ".join(f"'{value}'" for value in required)
        case "minimum" | "maximum":
            return f"at {'least' if error.validator == 'minimum' else 'most'} {required}"
        case "minItems" | "maxItems":
            side = "least" if error.validator == "minItems" else "most"
            return f"a list of at {side} {required} items"
        case "anyOf" | "oneOf" if error.context:
            return " or ".join(dict.fromkeys(describe_expected(e, source) for e in error.context))
    return f"as {source} requires ({error.validator}: {required})"


def quoting(error: ValidationError, path: JsonPath) -> tuple[str | None, Quote | None]:
    """Help, and the fix of the value at `path`, if text is required and YAML read a number.

    There is no fix if the value could also become something else, such as a list of numbers.
    """
    expected = describe_expected(error, "")
    if not isinstance(error.instance, int | float) or not expected.startswith("text"):
        return None, None
    return "Quote it.", Quote(path) if expected in ("text", "text or null") else None


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)
