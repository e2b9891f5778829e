from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.cli.options import DeployOptions, ImageOptions, OverrideOptions, SelectionOptions
from deployctl.cli.project import order_of
from deployctl.core.errors import UsageError


@pytest.mark.parametrize(
    ("imaging", "message"),
    [
        (ImageOptions(image=""), "--image is empty"),
        (ImageOptions(images=Path()), "--images is empty"),
        (ImageOptions(images=Path("a"), image="a"), "--images excludes"),
        (ImageOptions(images=Path("a"), image=""), "--images excludes"),
        (ImageOptions(images=Path("a"), skip_build=True), "--images excludes"),
    ],
)
def test_options_that_make_no_sense_are_refused(imaging: ImageOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        order_of(SelectionOptions(), OverrideOptions(), DeployOptions(), imaging)
