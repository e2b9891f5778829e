from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.cli.loading import order_of
from deployctl.cli.options import Choosing, Deploying, Imaging, Overriding
from deployctl.core.errors import UsageError


@pytest.mark.parametrize(
    ("imaging", "message"),
    [
        (Imaging(image=""), "--image is empty"),
        (Imaging(images=Path()), "--images is empty"),
        (Imaging(images=Path("a"), image="a"), "--images excludes"),
        (Imaging(images=Path("a"), image=""), "--images excludes"),
        (Imaging(images=Path("a"), skip_build=True), "--images excludes"),
    ],
)
def test_options_that_make_no_sense_are_refused(imaging: Imaging, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        order_of(Choosing(), Overriding(), Deploying(), imaging)
