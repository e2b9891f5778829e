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


@pytest.mark.parametrize(("name", "shown"), [("prod", "-n prod"), ("my prod", "-n 'my prod'")])
def test_name_in_place_of_an_entrypoint_suggests_the_option(name: str, shown: str) -> None:
    selection = SelectionOptions(entrypoint=name)
    with pytest.raises(UsageError, match="is not FILE:FLOW") as raised:
        load_options(selection, OverrideOptions(), DeployOptions(), ImageOptions())
    assert f"`{shown}`" in (raised.value.help or "")


@pytest.mark.parametrize("entrypoint", ["flows.py:etl", "package.module.etl", None])
def test_entrypoints_are_selections(entrypoint: str | None) -> None:
    options = (SelectionOptions(entrypoint=entrypoint), OverrideOptions())
    loaded = load_options(*options, DeployOptions(), ImageOptions())
    assert loaded.selection.entrypoint == (entrypoint or "")
