"""Checks of the variables that a file declares, and their values on the servers of Prefect 2."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from deployctl.core.json_values import Json
from deployctl.project.coerce import is_unresolved
from deployctl.templating.problems import Problem

_NAME = re.compile(r"[a-z0-9_-]{1,255}")
_LONGEST = 5000
"""Characters of a value as JSON, in Prefect 2.20.27 and 3.9.1; of text without its quotes in 2."""


def check_variable(entry: Mapping[str, Json]) -> Iterator[Problem]:
    """What every server rejects in a variable (DC240), with paths in its entry."""
    name, value = entry["name"], entry["value"]
    if not _NAME.fullmatch(name) and not is_unresolved(name):
        message = f"the server rejects the name '{name}' of this variable"
        help_ = "Use at most 255 lower-case letters, digits, _ and, on Prefect 3, -."
        yield Problem(("name",), "DC240", message, help_)
    if len(as_text(value)) > _LONGEST:
        message = f"the value of the variable '{name}' has more than {_LONGEST} characters"
        yield Problem(("value",), "DC240", message, "Store it elsewhere, for instance in a block.")


def as_text(value: Json) -> str:
    """The value as Prefect 2 stores it, whose variables are texts: JSON of anything else."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
