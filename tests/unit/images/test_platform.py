from __future__ import annotations

import pytest

from deployctl.core.errors import UsageError
from deployctl.images.platform import Platform, best_match, platform_from_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armv7l", "linux/arm/v7"),
        ("linux/armv6l", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
    ],
)
def test_platform_names_are_normalized(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "a/b/c/d", "linux/am d64", "linux//v7"])
def test_invalid_platform(text: str) -> None:
    with pytest.raises(UsageError, match="invalid platform"):
        Platform.parse(text)


def test_several_platforms_need_buildx() -> None:
    with pytest.raises(UsageError, match="several platforms are not supported") as refused:
        Platform.parse("linux/amd64,linux/arm64")
    assert "buildx" in str(refused.value.help)


@pytest.mark.parametrize(
    ("desired", "offered", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"),
        ("linux/arm", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "linux/arm/v5"),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64"], "linux/arm64"),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"),
        ("linux/s390x", ["linux/amd64"], None),
        ("windows/amd64", ["linux/amd64"], None),
        ("linux/amd64", [], None),
    ],
)
def test_best_match(desired: str, offered: list[str], expected: str | None) -> None:
    place = best_match(Platform.parse(desired), map(Platform.parse, offered))
    assert (None if place is None else offered[place]) == expected


@pytest.mark.parametrize(
    "about", [None, {}, {"os": "linux"}, {"os": "unknown", "architecture": "unknown"}]
)
def test_config_without_a_platform(about: dict[str, str] | None) -> None:
    assert platform_from_config(about) is None


def test_platform_of_an_index_entry() -> None:
    about = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    assert platform_from_config(about) == Platform("linux", "arm64")
