"""The first prefect.yaml of a folder is valid as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployctl.app.exporting.starter import inspect_folder
from deployctl.core.errors import UsageError
from deployctl.project.starter import FolderContents, starter_text
from tests.support.project import FLOW
from tests.unit.app.deploying.loading import load

OTHER = "from prefect import flow\n@flow(name='hello')\ndef other(): ..."


@pytest.mark.parametrize("recipe", ["kubernetes", "docker", "process"])
@pytest.mark.parametrize("dockerfile", [True, False])
def test_file_of_each_recipe_is_valid(recipe: str, dockerfile: bool, tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOW)
    files = {"Dockerfile": "FROM python:3.11"} if dockerfile else {}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = inspect_folder(tmp_path)
    assert found.has_dockerfile is dockerfile
    text = starter_text(found, recipe)
    assert text.startswith("# yaml-language-server: $schema=prefect.schema.json\n")
    loaded, report = load(tmp_path, text, files=files)
    assert report.items == []
    assert loaded is not None
    assert [each.name for each in loaded.selected] == ["hello/default"]
    assert bool(loaded.selected[0].build) is (recipe != "process")
    assert [pool["type"] for pool in loaded.work_pools] == [recipe]


def test_comments_are_valid_when_they_are_uncommented() -> None:
    found = FolderContents("x", {"flows.py:hello": "hello"}, repository="r.git", branch="dev")
    lines = starter_text(found, "process").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("# pull:"))
    pull = "\n".join(line.removeprefix("# ") for line in lines[start : start + 4])
    step = {"prefect.deployments.steps.git_clone": {"repository": "r.git", "branch": "dev"}}
    assert yaml.safe_load(pull) == {"pull": [step]}
    entry = "\n".join(line.replace("# ", "", 1) for line in lines[lines.index("deployments:") :])
    (parsed,) = yaml.safe_load(entry)["deployments"]
    assert parsed["schedules"] == [{"cron": "0 7 * * 1-5", "timezone": "Europe/Berlin"}]


def test_flows_of_one_name_get_deployments_of_different_names(tmp_path: Path) -> None:
    files = {"flows.py": FLOW, "more.py": OTHER}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    loaded, report = load(tmp_path, starter_text(inspect_folder(tmp_path), "process"), files=files)
    assert report.items == []
    assert loaded is not None
    assert [each.name for each in loaded.selected] == [
        "hello/flows-py-hello",
        "hello/more-py-other",
    ]


def test_folder_without_a_flow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no flow was found"):
        inspect_folder(tmp_path)


@pytest.mark.parametrize(
    ("folder", "image"), [("My Project", "my-project"), ("etl_1.x", "etl_1.x"), ("ünï", "n")]
)
def test_image_has_the_folders_name_in_valid_characters(folder: str, image: str) -> None:
    text = starter_text(FolderContents(folder, {"flows.py:hello": "hello"}), "docker")
    assert f"image_name: registry.example.com/{image}\n" in text
