"""What a `.dockerignore` leaves out."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.context import walk_context
from deployctl.images.dockerignore import BadPattern, DockerIgnore
from tests.support.ignore_cases import KEPT, LEFT_OUT, NEWER_KEPT, NEWER_LEFT_OUT, TREE, plant


def seen(folder: Path, lines: str) -> list[str]:
    """The files of the tree that are in the context, and its empty folder."""
    found = {entry.path for entry in walk_context(folder, DockerIgnore(lines.split("\n")))}
    return [path for path in TREE if path.rstrip("/") in found]


@pytest.mark.parametrize(("lines", "left_out"), LEFT_OUT + NEWER_LEFT_OUT)
def test_a_pattern_leaves_out(tmp_path: Path, lines: str, left_out: list[str]) -> None:
    assert sorted(set(TREE) - set(seen(plant(tmp_path), lines))) == sorted(left_out)


@pytest.mark.parametrize(("lines", "kept"), KEPT + NEWER_KEPT)
def test_a_pattern_leaves_all_out_but(tmp_path: Path, lines: str, kept: list[str]) -> None:
    assert sorted(seen(plant(tmp_path), lines)) == sorted(kept)


@pytest.mark.parametrize("line", ["!", "! ", "!/", "[", "a[]b", "x\\", "[a-", "[^", r"\q", r"\é"])
def test_what_docker_refuses_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(BadPattern, match=r"line 2 of '\.dockerignore'"):
        DockerIgnore(["ok", line])


@pytest.mark.parametrize(
    ("folder", "patterns", "closed"),
    [
        ("a", ["a"], True),
        ("a", ["a", "!a/b"], False),
        ("a", ["a", "!b"], True),
        ("a", ["*", "!a/**"], False),
        ("ab", ["*", "!a/**"], True),
        ("a", ["*", "!**/x"], False),
    ],
)
def test_a_folder_is_not_looked_into_for_nothing(
    folder: str, patterns: list[str], closed: bool
) -> None:
    assert DockerIgnore(patterns).closes(folder) == closed


def excludes(ignore: DockerIgnore, name: str) -> bool:
    """Whether a file at the root of the context is left out."""
    return ignore.step(name, ignore.at_root)[0]


class TestReading:
    def test_the_file_of_the_dockerfile_comes_first(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_text("a")
        (tmp_path / "ci").mkdir()
        (tmp_path / "ci" / "Dockerfile.dockerignore").write_text("b")
        assert excludes(DockerIgnore.read(tmp_path, "ci/Dockerfile"), "b")
        assert not excludes(DockerIgnore.read(tmp_path, "ci/Dockerfile"), "a")
        assert excludes(DockerIgnore.read(tmp_path), "a")

    def test_none_is_fine(self, tmp_path: Path) -> None:
        assert not excludes(DockerIgnore.read(tmp_path), "a")

    def test_byte_order_mark_windows_lines_and_any_bytes(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_bytes(b"\xef\xbb\xbfa\r\n\r\n# b\r\n\xff\r\n")
        ignore = DockerIgnore.read(tmp_path)
        assert [path for path in ("a", "b", "\udcff") if excludes(ignore, path)] == ["a", "\udcff"]

    def test_a_folder_of_that_name_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").mkdir()
        with pytest.raises(BadPattern, match=r"'\.dockerignore' cannot be read"):
            DockerIgnore.read(tmp_path)
