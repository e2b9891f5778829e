"""Write the files of the Helm chart that follow from the code: values, their schema, and rules.

python -m scripts.chart
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from deployctl.core.json_values import Json
from deployctl.jobs.rbac import IDENTITY, IN_JOB_NAMESPACES, IN_OWN_NAMESPACE
from deployctl.manifests.values import schema

CHART = Path(__file__).parents[1] / "charts" / "deployctl-worker"


def main() -> None:
    """Write all files."""
    for name, text in generated_files().items():
        (CHART / name).parent.mkdir(exist_ok=True)
        (CHART / name).write_text(text)


def generated_files() -> dict[str, str]:
    """Path below the chart → text."""
    files = {
        "values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        "values.yaml": "".join(_values(schema())).lstrip("\n"),
    }
    tables = {"jobs": IN_JOB_NAMESPACES, "worker": IN_OWN_NAMESPACE, "cluster": IDENTITY}
    for name, table in tables.items():
        rules = [each.rule() for each in table]
        files[f"files/rules-{name}.yaml"] = yaml.safe_dump(rules, sort_keys=False)
    return files


def _values(node: Json, indent: str = "") -> Iterator[str]:
    """The lines of values.yaml: each value with its description and its default."""
    for name, each in node["properties"].items():
        blank = "" if indent else "\n"
        yield f"{blank}{indent}# {each['description']}\n"
        if "properties" in each:
            yield f"{indent}{name}:\n"
            yield from _values(each, indent + "  ")
        else:
            yield f"{indent}{name}: {json.dumps(each.get('default'))}\n"


if __name__ == "__main__":
    main()
