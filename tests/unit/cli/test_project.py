from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.cli.project import load_options
from deployctl.cli.project_options import (
    DeployOptions,
    ImageOptions,
    OverrideOptions,
    SelectionOptions,
)
from deployctl.core.errors import UsageError


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (ImageOptions(image=""), "--image is empty"),
        (ImageOptions(images=Path()), "--images is empty"),
        (ImageOptions(images=Path("a"), image="a"), "--images excludes"),
        (ImageOptions(images=Path("a"), image=""), "--images excludes"),
        (ImageOptions(images=Path("a"), skip_build=True), "--images excludes"),
    ],
)
def test_rejects_conflicting_image_options(images: ImageOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_options(SelectionOptions(), OverrideOptions(), DeployOptions(), images)
