"""Values as YAML and as JSON, with secrets masked."""

from __future__ import annotations

from functools import cache
from typing import Any

from deployctl.core.json_values import Json
from deployctl.core.redact import mask_secrets, redact
from deployctl.templating.values import Unknown

_FLOW_LENGTH = 60
"""Characters up to which a list of plain values is written on one line."""
_DEFAULT_WIDTH = 100
"""Columns of YAML where the output has no width of its own."""

_OVERHANG = 12
"""Columns that lines stay shorter: YAML is folded behind the word that exceeds the width."""


def jsonable(value: Json, *names: str) -> Json:
    """A value for the JSON output: masked, an unknown part as `{"unknown": "step.key"}`."""
    return _plain(mask_secrets(value, *names))


def yaml_lines(value: Json, width: int | None = None) -> list[str]:
    """A value as lines of block-style YAML; plain text is not quoted.

    Text is folded at spaces to fit into `width` columns.
    """
    import yaml

    if isinstance(value, str):
        written = redact(value).splitlines() or ['""']
        return [part for line in written for part in _folded(line, width)]
    text = yaml.dump(
        value,
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        width=max(20, (width or _DEFAULT_WIDTH) - _OVERHANG),
    )
    return redact(text).removesuffix("\n").removesuffix("\n...").split("\n")


def inline(value: Json) -> str | None:
    """A value as one line of YAML; None if it takes several."""
    found = yaml_lines(value, 10_000)
    return found[0] if len(found) == 1 else None


def _folded(line: str, width: int | None) -> list[str]:
    import textwrap

    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(line, max(20, width), break_long_words=False, break_on_hyphens=False)


@cache
def _dumper() -> Any:
    """The YAML dumper: lists of plain values in one line, long texts as literal blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes every value where it stands, without anchors."""

        def ignore_aliases(self, _data: Any) -> bool:  # type: ignore[override,unused-ignore]
            """Repeats a value that occurs twice."""
            return True

    def write_list(dumper: Any, items: list[Json]) -> Any:
        """A list of plain values on one line if it is short."""
        plain = not any(isinstance(item, dict | list) for item in items)
        short = sum(len(str(item)) + 2 for item in items) <= _FLOW_LENGTH
        return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=plain and short)

    def write_text(dumper: Any, text: str) -> Any:
        """A text of several lines as a literal block."""
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(list, write_list)
    Dumper.add_representer(str, write_text)
    Dumper.add_representer(
        dict,
        lambda dumper, items: dumper.represent_mapping(
            "tag:yaml.org,2002:map", items.items(), flow_style=False
        ),
    )
    Dumper.add_representer(Unknown, lambda dumper, value: write_text(dumper, str(value)))
    Dumper.add_multi_representer(object, lambda dumper, value: write_text(dumper, str(value)))
    return Dumper


def _plain(value: Json) -> Json:
    if isinstance(value, Unknown):
        return {"unknown": f"{value.step}.{value.key}"}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
