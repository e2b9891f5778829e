"""Writes values as YAML that `prefect deploy` and deployctl read back as they are.

PyYAML writes the scalars, since PyYAML reads them: text such as `yes`, `1:30` or `0777` means
something else in YAML 1.1 and gets quotes. Comments stand above the key that they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from deployctl.core.json_values import Json
from deployctl.project.layout import indented

INDENT = 2
_LINE_BREAKS = "\x85\u2028\u2029"
"""Characters at which YAML 1.1 breaks a line, so that only quotes keep them."""


def yaml_lines(value: Json) -> list[str]:
    """The lines of a value in block style; keys keep their order."""
    import yaml

    text = yaml.dump(
        value,
        Dumper=_dumper(),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=float("inf"),
    )
    # Not `splitlines`, which also splits at separators that YAML reads as part of a text.
    return str(text).removesuffix("\n").removesuffix("\n...").split("\n")


def mapping_lines(
    values: Mapping[str, Json], comments: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """The lines of a mapping, with comments above its keys; those of absent keys come last."""
    left = dict(comments or {})
    lines: list[str] = []
    for name, value in values.items():
        lines += [*comment_lines(left.pop(name, ())), *yaml_lines({name: value})]
    return lines + [line for texts in left.values() for line in comment_lines(texts)]


def item_lines(lines: Iterable[str], comments: Iterable[str] = ()) -> list[str]:
    """The lines of a mapping as an item of a list, with comments above it.

    The dash stands in front of the first line, which must not be a comment.
    """
    first, *rest = lines
    return [*comment_lines(comments), f"- {first}", *indented(rest, INDENT)]


def comment_lines(texts: Iterable[str]) -> list[str]:
    """Each text as one line of a comment, without characters that could end it."""
    return [f"# {_one_line(text)}" for text in texts]


def _one_line(text: str) -> str:
    printable = (each if each.isprintable() else " " for each in text)
    return " ".join("".join(printable).split())


@cache
def _dumper() -> Any:
    """PyYAML's safe dumper, with lists indented below their key and texts of several lines as
    blocks."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """See above."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            """Indents also the lists in mappings."""
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            """Writes equal values out, so that each can be edited alone."""
            return True

    def represent_text(dumper: Any, text: str) -> Any:
        """Text of several lines as a block, where YAML can keep every character of it there."""
        if any(each in text for each in _LINE_BREAKS):
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
        is_block = "\n" in text.strip() and not text[0].isspace()
        style = "|" if is_block else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent_text)
    return Dumper
