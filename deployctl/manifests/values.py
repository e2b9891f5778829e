"""Values of a worker's manifests: those of the official prefect-worker chart, and some more.

`worker-values.schema.json` is the table of all values, with descriptions and defaults; the Helm
chart has a copy of it. Values files are merged as Helm does: mappings key by key, everything else
is replaced, null empties a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from deployctl.core.diagnostics import Report
from deployctl.core.json_schema import describe_expected, most_specific, quoting
from deployctl.core.json_values import Json, JsonPath
from deployctl.core.suggest import did_you_mean
from deployctl.project.document import Document

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_SCHEMA = Path(__file__).with_name("worker-values.schema.json")

_OLD_KEYS: Mapping[JsonPath, JsonPath] = {
    ("worker", "serverApiConfig"): ("worker", "selfHostedServerApiConfig"),
    ("worker", "selfHostedCloudApiConfig"): ("worker", "customerManagedCloudApiConfig"),
    ("worker", "selfManagedCloudApiConfig"): ("worker", "customerManagedCloudApiConfig"),
    ("worker", "basicAuth"): ("worker", "selfHostedServerApiConfig", "basicAuth"),
}
"""Names that older releases of the chart had."""
_OLD_API_CONFIGS = {
    "server": "selfHostedServer",
    "selfHosted": "customerManagedCloud",
    "selfManaged": "customerManagedCloud",
}

_EMPTY: Mapping[str, Json] = {"array": [], "object": {}, "string": "", "boolean": False}
"""What null stands for, by the type of a value."""


@cache
def schema() -> Json:
    """The JSON Schema of all values."""
    return json.loads(_SCHEMA.read_text())


def default_values() -> dict[str, Json]:
    """All values with their defaults, as a new tree."""
    return deepcopy(_defaults(schema()))


def complete(values: Mapping[str, Json]) -> dict[str, Json]:
    """Values without null: a removed value is empty; a removed number or group has its default."""
    return dict(_filled(schema(), values))


def merged(lower: Mapping[str, Json], higher: Mapping[str, Json]) -> dict[str, Json]:
    """Two trees of values as one; `higher` has precedence."""
    result = dict(lower)
    for key, value in higher.items():
        below = result.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def with_current_names(values: Mapping[str, Json]) -> dict[str, Json]:
    """Values with the current names in place of those of older releases of the chart."""
    result = deepcopy(dict(values))
    for old, new in _OLD_KEYS.items():
        parent = _at(result, old[:-1])
        if isinstance(parent, dict) and old[-1] in parent:
            result = merged(result, _nested(new, parent.pop(old[-1])))
            _at(result, old[:-1]).pop(old[-1], None)
    worker = result.get("worker")
    if isinstance(worker, dict) and worker.get("apiConfig") in _OLD_API_CONFIGS:
        worker["apiConfig"] = _OLD_API_CONFIGS[worker["apiConfig"]]
    return result


def check_values(document: Document, report: Report) -> None:
    """Reports unknown (DC801) and invalid (DC802) values of one file, with their places."""
    from jsonschema import Draft7Validator

    for error in sorted(Draft7Validator(_file_schema()).iter_errors(document.data), key=_place):
        error = most_specific(error)
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            _report_unknown(error, path, document, report)
            continue
        report.add(
            "DC802",
            f"'{_dotted(path)}' must be {describe_expected(error, 'the chart')}",
            document.spans.value(path),
            help=quoting(error, ())[0],
        )


def _report_unknown(
    error: ValidationError, path: JsonPath, document: Document, report: Report
) -> None:
    schema_: Json = error.schema
    known = schema_["properties"]
    instance: Json = error.instance
    for key in instance:
        if key not in known:
            report.add(
                "DC801",
                f"unknown value '{_dotted((*path, key))}'",
                document.spans.key((*path, key)),
                help=did_you_mean(str(key), known),
            )


@cache
def _file_schema() -> Json:
    """The schema with the names of older releases, and with null for every value."""
    extended = deepcopy(schema())
    for old, new in _OLD_KEYS.items():
        target = _at(extended, [part for key in new for part in ("properties", key)])
        parent = _at(extended, [part for key in old[:-1] for part in ("properties", key)])
        parent["properties"][old[-1]] = target
    kinds = extended["properties"]["worker"]["properties"]["apiConfig"]
    kinds["enum"] = [*kinds["enum"], *_OLD_API_CONFIGS]
    return _nullable(extended)


def _nullable(node: Json) -> Json:
    """A schema that also accepts null for each value: it removes the default."""
    found = dict(node)
    if "properties" in found:
        found["properties"] = {key: _nullable(each) for key, each in found["properties"].items()}
    types = found.get("type", [])
    found["type"] = list(dict.fromkeys([*([types] if isinstance(types, str) else types), "null"]))
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return found


def _defaults(node: Json) -> Json:
    if "properties" in node:
        return {key: _defaults(each) for key, each in node["properties"].items()}
    return node.get("default")


def _filled(node: Json, value: Json) -> Json:
    if "properties" in node:
        if value is None:
            return deepcopy(_defaults(node))
        return {key: _filled(each, value.get(key)) for key, each in node["properties"].items()}
    if value is None and isinstance(node.get("type"), str):
        return deepcopy(_EMPTY.get(node["type"], node.get("default")))
    return value


def _at(tree: Json, path: Sequence[str | int]) -> Json:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _nested(path: JsonPath, value: Json) -> dict[str, Json]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def _dotted(path: JsonPath) -> str:
    return "".join(_parts(path)).removeprefix(".")


def _parts(path: JsonPath) -> Iterator[str]:
    for part in path:
        yield f"[{part}]" if isinstance(part, int) else f".{part}"


def _place(error: ValidationError) -> list[str]:
    return [str(part) for part in error.absolute_path]
