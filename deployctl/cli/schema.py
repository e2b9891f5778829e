"""`deployctl schema`: the JSON Schema of prefect.yaml."""

from __future__ import annotations

from deployctl.cli.command import command


@command(
    "schema",
    ("Save the schema for an editor", "deployctl schema > prefect.schema.json"),
    ("List the top-level keys", "deployctl schema | jq '.properties | keys'"),
)
def schema() -> None:
    """Print the JSON Schema of prefect.yaml, for editors."""
    import json

    from deployctl.project.schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
