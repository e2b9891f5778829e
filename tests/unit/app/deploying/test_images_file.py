from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployctl.app.deploying.images_file import BuildOutputs, InvalidImagesFile, read_build_outputs
from deployctl.core import redact
from deployctl.images.model import Image

BUILT = BuildOutputs({"f/d": {"tag": "1", "image_id": None}}, {"a:1": "a:1@sha256:2"})


def test_build_outputs_survive_a_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    images = [Image("a", "1", "sha256:2"), Image("b", "2", built=False)]
    data = BUILT.as_json(images)
    assert [image["image"] for image in data["images"]] == ["a:1@sha256:2", "b:2"]
    file.write_text(json.dumps({"version": 1, **data}))
    assert read_build_outputs(file) == BUILT


def test_secrets_are_not_written() -> None:
    redact.register_secrets(["swordfish-of-a-step"])
    built = BuildOutputs({"f/d": {"stdout": "it is swordfish-of-a-step", "token": "t"}}, {})
    assert built.as_json([])["outputs"] == {
        "f/d": {"stdout": f"it is {redact.MASK}", "token": redact.MASK}
    }


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        {"outputs": {}},
        {"outputs": {"a": 1}, "pins": {}},
        {"outputs": {}, "pins": {"a": 1}},
    ],
)
def test_invalid_file_is_reported(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "images.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InvalidImagesFile, match=r"images\.json"):
        read_build_outputs(file)


def test_file_of_failed_build_is_reported_with_its_error(tmp_path: Path) -> None:
    file = tmp_path / "images.json"
    warning = {"severity": "warning", "message": "less"}
    failure = {"severity": "error", "message": "step 'a' of f/d: no such file\nlast words"}
    file.write_text(json.dumps({"version": 1, "diagnostics": [warning, failure]}))
    with pytest.raises(
        InvalidImagesFile, match=r"a build that failed: step 'a' of f/d: no such file$"
    ):
        read_build_outputs(file)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InvalidImagesFile, match="cannot read"):
        read_build_outputs(tmp_path / "none.json")
