"""What a deployment takes from its flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployctl.core.json_values import Json


@dataclass(frozen=True, slots=True)
class FlowMetadata:
    """What `prefect deploy` copies from a flow to its deployments. All else stays in the code."""

    name: str
    description: str | None
    version: str | None
    """The MD5 of the flow's file, unless the decorator gives one. None where Prefect cannot tell
    either: it had to read the flow without running its file to the end."""
    parameter_schema: Mapping[str, Json]
    """As Prefect 3 sends it. `required` and `definitions` are absent where they are empty.

    Prefect 2.20 writes the same, by the rules of pydantic 2, with two differences that are left out
    on purpose: it makes `self` and `cls` required parameters, which nobody can give, and its older
    pydantic adds a pattern to the text form of a Decimal, which only the flow's own interpreter
    could tell from `float | str`.
    """
