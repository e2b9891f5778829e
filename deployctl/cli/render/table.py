"""Text tables and relative times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from deployctl.core.redact import redact

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Text]:
    """Rows below a header, each column as wide as its widest cell; an empty cell is `-`.

    Plain text without borders, so that `awk` and `cut` can read it as well.
    """
    cells = [[" ".join(redact(cell).split()) or "-" for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(header, *cells, strict=True)]
    for index, row in enumerate([header, *cells]):
        padded = (
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        yield Text("  ".join(padded).rstrip(), style="bold" if index == 0 else "")


def relative_time(text: str | None, now: datetime) -> str:
    """A time of the server relative to `now`: `5 min ago`, `in 2 h`; "" for None."""
    if not text:
        return ""
    seconds = (now - datetime.fromisoformat(text)).total_seconds()
    size, unit = next((u for u in _UNITS if abs(seconds) >= u[0]), (1, "s"))
    span = f"{abs(seconds) // size:.0f} {unit}"
    return f"{span} ago" if seconds >= 0 else f"in {span}"
