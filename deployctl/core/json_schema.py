"""What is wrong by a JSON Schema, in words; never with the value, which may be a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def deepest(error: ValidationError) -> ValidationError:
    """The error that says most: of alternatives, the one that got furthest into the value."""
    inner = max(map(deepest, error.context or ()), key=_depth, default=error)
    return inner if _depth(inner) > _depth(error) else error


def expectation(error: ValidationError, source: str) -> str:
    """What the schema wants, in words; `source` says whose schema, where there are none for it."""
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            types = [wanted] if isinstance(wanted, str) else wanted
            return " or ".join(_TYPES.get(name, name) for name in types)
        case "const":
            return f"'{wanted}'"
        case "enum":
            return "one of " + ", ".join(f"'{value}'" for value in wanted)
        case "minimum" | "maximum":
            return f"at {'least' if error.validator == 'minimum' else 'most'} {wanted}"
        case "minItems" | "maxItems":
            side = "least" if error.validator == "minItems" else "most"
            return f"a list of at {side} {wanted} items"
        case "anyOf" | "oneOf" if error.context:
            return " or ".join(dict.fromkeys(expectation(e, source) for e in error.context))
    return f"as {source} wants it ({error.validator}: {wanted})"


def advice(error: ValidationError) -> str | None:
    """The way out where text is wanted and a number is given: YAML took it for one."""
    number = isinstance(error.instance, int | float)
    return "put it between quotes" if number and expectation(error, "").startswith("text") else None


def _depth(error: ValidationError) -> int:
    return len(error.absolute_path)
