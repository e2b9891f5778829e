"""The values of an entry that name objects on the server, and their placeholders.

They are resolved before anything is looked up by them, so that no placeholder becomes a name on the
server: environment variables when the file is parsed, variables and blocks as soon as a server is
known, outputs of steps after the build. Prefect resolves them, too, but looks work pools up first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json, JsonPath, format_path, leaves
from deployctl.templating.grammar import PlaceholderKind, placeholders
from deployctl.templating.problems import Problem
from deployctl.templating.references import Reference, references
from deployctl.templating.render import Scope, Treatment, render

_REFERENCES = frozenset({PlaceholderKind.BLOCK, PlaceholderKind.VARIABLE})


def is_identifying(path: JsonPath) -> bool:
    """Whether the value at a path in an entry names an object on the server, or the flow."""
    match path:
        case ("name" | "entrypoint" | "flow_name" | "work_pool",):
            return True
        case ("work_pool", "name" | "work_queue_name") | ("triggers", int(), "name"):
            return True
    return False


def identifying_references(data: Mapping[str, Json]) -> list[Reference]:
    """The blocks and variables that name something in a file."""
    entries = data.get("deployments")
    found = [reference for _, reference in references(data.get("name"))]
    for entry in entries if isinstance(entries, list) else ():
        found += [
            reference for path, reference in references(entry) if _is_identifying_text(path, entry)
        ]
    return found


def render_identity(entry: Json, scope: Scope) -> tuple[Any, list[Problem]]:
    """The entry with the placeholders of its identifying values filled in, as far as known."""
    if not isinstance(entry, dict):
        return entry, []
    rendered, problems = render(entry, scope, _identity_rule)
    return _with_texts(rendered, entry, ()), problems


def unresolved_identity(entry: Mapping[str, Json]) -> Iterator[tuple[JsonPath, str]]:
    """The identifying values of an entry that still hold `{{`, with their paths."""
    for path, value in leaves(entry):
        if is_identifying(path) and isinstance(value, str) and "{{" in value:
            yield path, value


def check_identity(entry: Mapping[str, Json], unread: Severity | None) -> Iterator[Problem]:
    """Identifying values that cannot be resolved (DC133).

    Outputs of steps are accepted, except for what has to be known before steps run. `unread` is the
    severity of references where no server is asked; None if one was, and rendering reported them.
    """
    for path, value in unresolved_identity(entry):
        kinds = {placeholder.kind for placeholder in placeholders(value)}
        where = format_path(path)
        if kinds & _REFERENCES:
            if unread is not None:
                message = f"'{where}' is known only with a server: '{value}'"
                yield Problem(path, "DC133", message, None, unread)
        elif path[0] in ("entrypoint", "flow_name") and PlaceholderKind.STEP in kinds:
            message = f"'{where}' is needed before steps run, so it cannot be '{value}'"
            help_ = "Use an environment variable, {{ $NAME }}, or a Prefect variable."
            # Prefect reads no flow name from the file, and the code has one in nearly every case.
            severity = Severity.WARNING if path[0] == "flow_name" else None
            yield Problem(path, "DC133", message, help_, severity)
        elif not kinds or PlaceholderKind.CTX in kinds:
            message = f"'{where}' cannot be resolved: '{value}'"
            help_ = (
                "Write the name, or {{ $NAME }}, {{ prefect.variables.x }} or {{ step.output }}."
            )
            yield Problem(path, "DC133", message, help_)


def _identity_rule(path: JsonPath, kind: PlaceholderKind) -> Treatment:  # noqa: ARG001
    return Treatment.RESOLVE if is_identifying(path) else Treatment.KEEP


def _is_identifying_text(path: JsonPath, entry: Json) -> bool:
    return isinstance(entry, dict) and is_identifying(path)


def _with_texts(value: Json, written: Json, path: JsonPath) -> Json:
    """The value with the numbers and booleans that a placeholder gave a name as text."""
    if value is written:
        return value
    if isinstance(value, dict) and isinstance(written, dict):
        return {key: _with_texts(item, written[key], (*path, key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(written, list):
        pairs = enumerate(zip(value, written, strict=True))
        return [_with_texts(item, before, (*path, n)) for n, (item, before) in pairs]
    is_scalar = isinstance(value, int | float)
    return str(value) if is_scalar and is_identifying(path) else value
