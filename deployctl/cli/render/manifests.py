"""Kubernetes objects as YAML documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deployctl.core.json_values import Json


def manifests(objects: Sequence[Json]) -> str:
    """The objects as one YAML stream for `kubectl apply -f -`; text of several lines as a block."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes no anchors: kubectl reads them, people do not."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    Dumper.add_representer(str, text)
    return yaml.dump_all(
        objects, Dumper=Dumper, sort_keys=False, allow_unicode=True, explicit_start=True
    )
