"""Text for the images that a command built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from deployctl.images.model import Image


def image_lines(images: Sequence[Image]) -> Iterator[Text]:
    """One line per image: its name with tag and digest, and whether it was built and pushed."""
    for image in images:
        built = "built" if image.built else "exists"
        pushed = "pushed" if image.digest else "not pushed"
        yield Text.assemble((image.pinned, "bold"), f"  {built}, {pushed}")
    if not images:
        yield Text("No step built or pushed an image.")
