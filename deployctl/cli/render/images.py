"""Images that a command made, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from deployctl.images.model import Image


def listed(images: Sequence[Image]) -> Iterator[Text]:
    """One line per image: its name with tag and digest, and what was done for it."""
    for image in images:
        done = "built" if image.built else "there already"
        where = "pushed" if image.digest else "not pushed"
        yield Text.assemble((image.pinned, "bold"), f"  {done}, {where}")
    if not images:
        yield Text("No step has built or pushed an image.")
