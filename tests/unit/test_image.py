"""The pinned packages of the image are those that the tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def pins(path: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / path).read_text(encoding="utf-8")))


def test_image_has_each_dependency_in_the_version_of_the_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = pins("image/requirements.txt")
    names = {re.split(r"[^a-z.-]", each)[0].replace(".", "-") for each in project["dependencies"]}
    assert names - image.keys() == set()
    assert image.items() - pins("requirements-dev.txt").items() == set()


def test_each_package_of_the_image_has_a_hash() -> None:
    for name in ("requirements", "build-requirements"):
        text = (ROOT / "image" / f"{name}.txt").read_text(encoding="utf-8")
        for package in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in package, package
