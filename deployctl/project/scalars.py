"""Values of YAML scalars, resolved and constructed by PyYAML's safe loader.

Prefect reads prefect.yaml with `yaml.safe_load`, which follows YAML 1.1: `on` is true, `0777` is
511, `1e3` is text and `1:30` is 90. JSON has no dates; they become the text that Prefect sends.
"""

from __future__ import annotations

from datetime import date
from functools import cache, lru_cache
from typing import Any

from deployctl.core.json_values import Json

TAG_PREFIX = "tag:yaml.org,2002:"
_JSON_TAGS = frozenset(
    TAG_PREFIX + name for name in ("str", "int", "float", "bool", "null", "timestamp")
)


@lru_cache(maxsize=4096)
def resolve_plain(text: str) -> Json:
    """The value of a scalar without quotes and tag; infinite numbers and NaN are floats.

    Text where PyYAML has no value for it and Prefect stops: `2024-02-31`, `=`.
    """
    import yaml

    loader = _loader()
    if text and text[0] not in loader.yaml_implicit_resolvers:
        return text
    try:
        return construct_scalar(loader.resolve(yaml.ScalarNode, text, (True, False)), text)
    except ValueError:
        return text


def construct_scalar(tag: str, text: str) -> Json:
    """The value of a scalar with this tag. Raises ValueError if it has none in JSON."""
    import yaml

    loader = _loader()
    if tag not in _JSON_TAGS:
        raise ValueError(f"the tag {tag} has no value in JSON")
    try:
        value = loader.yaml_constructors[tag](loader, yaml.ScalarNode(tag, text))
    except (KeyError, AttributeError, OverflowError) as error:
        raise ValueError(f"{text!r} is no {tag}") from error
    if isinstance(value, date):
        return value.isoformat().replace("+00:00", "Z")
    return value


@cache
def _loader() -> Any:
    """A safe loader without input, for its resolvers and constructors."""
    import yaml

    return yaml.SafeLoader("")
