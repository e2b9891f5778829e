"""What a deployment takes from its flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class FlowMetadata:
    """What `prefect deploy` copies from a flow to its deployments."""

    name: str
    description: str | None
    version: str | None
    """The version in the decorator, else the MD5 of the flow's file. None if Prefect does not
    know it either, because it had to read the flow without running its file to the end."""
    parameter_schema: Mapping[str, Json]
    """The parameter schema as Prefect 3 sends it; `required` and `definitions` only if not empty.

    Prefect 2.20 sends the same schema, except for two differences that are ignored on purpose: it
    makes `self` and `cls` required parameters, which no run can pass, and its older pydantic adds a
    pattern to the string form of a Decimal, which only the flow's own interpreter could
    distinguish from `float | str`.
    """
    unknown: tuple[str, ...] = ()
    """The parameters whose schema is open because the code could not be read that far."""

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Reads metadata as the probe and the cache write it. Raises TypeError for wrong keys."""
        return cls(**{**value, "unknown": tuple(value.get("unknown", ()))})


OPEN_SCHEMA: Mapping[str, Json] = {
    "title": "Parameters",
    "type": "object",
    "properties": {},
    "additionalProperties": True,
}
"""The schema of a flow of which only the name is known: it takes any parameter."""
