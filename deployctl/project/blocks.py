"""The values of the blocks that a file declares, and the checks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from deployctl.core import redact
from deployctl.core.diagnostics import Severity
from deployctl.core.json_values import Json, leaves
from deployctl.core.suggest import did_you_mean, quoted
from deployctl.templating.problems import Problem


def block_values(entry: Mapping[str, Json], folder: Path) -> tuple[dict[str, Json], list[Problem]]:
    """The values of a block, those of its `files` included, and the problems of these (DC242).

    The line break at the end of a file of one line is no part of the value.
    """
    values, problems = dict(entry.get("values") or {}), []
    for name, file in (entry.get("files") or {}).items():
        if name in values:
            message = f"'{name}' is given both under 'values' and 'files'"
            problems.append(Problem(("files", name), "DC242", message, "Remove one of them."))
            continue
        try:
            text = (folder / str(file)).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            message = f"cannot read '{file}', the value of '{name}': {reason}"
            help_ = "Give the path of a text file, relative to this file's folder."
            problems.append(Problem(("files", name), "DC242", message, help_))
            continue
        lines = text.splitlines()
        values[name] = lines[0] if len(lines) == 1 else text
        redact.register_secrets([text.strip()], stored=True)
    return values, problems


def block_secrets(type_slug: str, values: Mapping[str, Json]) -> Iterator[str]:
    """What is secret by its name, and everything in a secret.

    The secret fields of other blocks are known to the server.
    """
    if type_slug == "secret":
        texts = (str(leaf) for _, leaf in leaves(values) if leaf is not None)
        yield from (text for text in texts if "{{" not in text)
    else:
        yield from redact.find_secrets(values)


def check_block_values(
    type_slug: str, values: Mapping[str, Json], fields: Mapping[str, Json]
) -> list[Problem]:
    """What the schema of a block's type says against the names of its values, with paths in them.

    Their types are left to Prefect, which reads the number in "5432" as one.
    """
    known = fields.get("properties") or {}
    unknown = [
        Problem(
            (name,),
            "DC120",
            f"'{name}' is not a field of the block type '{type_slug}'",
            did_you_mean(name, known) or f"It has {quoted(known)}.",
            Severity.ERROR,
        )
        for name in values
        if name not in known and not fields.get("additionalProperties")
    ]
    missing = [
        Problem((), "DC127", f"this {type_slug} block has no '{name}'", "Add it under 'values'.")
        for name in fields.get("required") or ()
        if name not in values
    ]
    return [*unknown, *missing]
