"""Matching of `.dockerignore`."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.context import walk_context
from deployctl.images.dockerignore import BadPattern, DockerIgnore
from tests.support.ignore_cases import (
    EXCLUDED,
    INCLUDED,
    NEWER_EXCLUDED,
    NEWER_INCLUDED,
    TREE,
    create_tree,
)


def seen(folder: Path, lines: str) -> list[str]:
    """The files, and the empty directory, of the tree that are in the context."""
    found = {entry.path for entry in walk_context(folder, DockerIgnore(lines.split("\n")))}
    return [path for path in TREE if path.rstrip("/") in found]


@pytest.mark.parametrize(("lines", "left_out"), EXCLUDED + NEWER_EXCLUDED)
def test_pattern_excludes(tmp_path: Path, lines: str, left_out: list[str]) -> None:
    assert sorted(set(TREE) - set(seen(create_tree(tmp_path), lines))) == sorted(left_out)


@pytest.mark.parametrize(("lines", "kept"), INCLUDED + NEWER_INCLUDED)
def test_negated_pattern_includes_again(tmp_path: Path, lines: str, kept: list[str]) -> None:
    assert sorted(seen(create_tree(tmp_path), lines)) == sorted(kept)


@pytest.mark.parametrize("line", ["!", "! ", "!/", "[", "a[]b", "x\\", "[a-", "[^", r"\q", r"\é"])
def test_invalid_pattern_is_rejected_with_its_line(line: str) -> None:
    with pytest.raises(BadPattern, match=r"line 2 of '\.dockerignore'"):
        DockerIgnore(["ok", line])


@pytest.mark.parametrize(
    ("directory", "patterns", "skipped"),
    [
        ("a", ["a"], True),
        ("a", ["a", "!a/b"], False),
        ("a", ["a", "!b"], True),
        ("a", ["*", "!a/**"], False),
        ("ab", ["*", "!a/**"], True),
        ("a", ["*", "!**/x"], False),
    ],
)
def test_excluded_directory_is_skipped_if_nothing_in_it_is_included(
    directory: str, patterns: list[str], skipped: bool
) -> None:
    assert DockerIgnore(patterns).excludes_below(directory) == skipped


def excludes(ignore: DockerIgnore, name: str) -> bool:
    """Whether a file at the root of the context is excluded."""
    return ignore.match(name, ignore.root_matches)[0]


class TestReading:
    def test_ignore_file_of_the_dockerfile_takes_precedence(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_text("a")
        (tmp_path / "ci").mkdir()
        (tmp_path / "ci" / "Dockerfile.dockerignore").write_text("b")
        assert excludes(DockerIgnore.read(tmp_path, "ci/Dockerfile"), "b")
        assert not excludes(DockerIgnore.read(tmp_path, "ci/Dockerfile"), "a")
        assert excludes(DockerIgnore.read(tmp_path), "a")

    def test_missing_file_ignores_nothing(self, tmp_path: Path) -> None:
        assert not excludes(DockerIgnore.read(tmp_path), "a")

    def test_reads_byte_order_mark_crlf_and_arbitrary_bytes(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").write_bytes(b"\xef\xbb\xbfa\r\n\r\n# b\r\n\xff\r\n")
        ignore = DockerIgnore.read(tmp_path)
        assert [path for path in ("a", "b", "\udcff") if excludes(ignore, path)] == ["a", "\udcff"]

    def test_directory_of_that_name_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / ".dockerignore").mkdir()
        with pytest.raises(BadPattern, match=r"cannot read '\.dockerignore'"):
            DockerIgnore.read(tmp_path)
