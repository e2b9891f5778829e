"""Columns, indents and marks of plans."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from deployctl.deploy.model import Op, Resource, kind_name

DEFAULT_WIDTH = 100
"""Columns to which names and YAML are wrapped where the output has no width."""
MARKS = {
    Op.CREATE: ("+", "green"),
    Op.UPDATE: ("~", "yellow"),
    Op.DELETE: ("-", "red"),
    Op.NONE: ("=", "dim"),
}
_CUT_LINES = 12
"""Lines of one value that a cut view shows."""


@dataclass(frozen=True, slots=True)
class View:
    """How much of a plan is shown."""

    width: int | None = None
    """Columns of the terminal; None: no terminal."""
    full: bool = False
    """Whether everything is shown on a terminal, too."""

    @property
    def cuts(self) -> bool:
        """Whether long lines and values are cut."""
        return self.width is not None and not self.full

    @property
    def columns(self) -> int:
        """The columns to wrap to."""
        return self.width or DEFAULT_WIDTH

    def line(self, text: Text) -> Text:
        """The line, cut to the width if the view cuts."""
        if self.cuts:
            text.truncate(self.columns, overflow="ellipsis")
        return text

    def lines(self, lines: list[Text]) -> Iterator[Text]:
        """The lines of one value, cut if the view cuts."""
        shown = lines
        if self.cuts and len(lines) > _CUT_LINES + 1:
            shown = lines[:_CUT_LINES]
        yield from map(self.line, shown)
        if len(shown) < len(lines):
            indent = len(lines[0].plain) - len(lines[0].plain.lstrip())
            count = len(lines) - len(shown)
            yield Text(f"{' ' * indent}… {count} more lines (--full shows them)", style="dim")


def pad(text: str, width: int) -> str:
    """The text with spaces up to `width` columns; a longer one stays as it is."""
    return text if cell_len(text) >= width else set_cell_size(text, width)


def wrapped(names: Iterable[str], indent: int, columns: int) -> Iterator[str]:
    """Names with commas between them, in lines of at most `columns`."""
    space = " " * indent
    yield from textwrap.wrap(
        ", ".join(names),
        max(20, columns),
        initial_indent=space,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


def title(kind: str, name: str) -> str:
    """`work pool k8s`."""
    return f"{kind_name(kind)} {name}"


def plural(count: int, kind: str) -> str:
    """`1 deployment`, `3 work pools`."""
    return f"{count} {kind_name(kind)}{'s' * (count != 1)}"


def name_of(resource: Resource) -> str:
    """`deployment etl/daily`."""
    return title(resource.kind, resource.name)
