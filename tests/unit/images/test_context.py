"""Build contexts and their archives."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployctl.images.context import (
    EntryType,
    UnreadableContext,
    walk_context,
    with_engine_files,
)
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.tar import MTIME, write_context

NOBODY = 65534


def archived(folder: Path) -> bytes:
    out = io.BytesIO()
    write_context(walk_context(folder, DockerIgnore()), out)
    return out.getvalue()


def read_back(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Drops the privileges of root, who may read everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_entries_are_sorted_with_directories_before_their_contents(tmp_path: Path) -> None:
    for path in ("b", "a/z", "a/b/c", "a.txt", "A"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    found = [entry.path for entry in walk_context(tmp_path, DockerIgnore())]
    assert found == ["A", "a", "a/b", "a/b/c", "a/z", "a.txt", "b"]


def test_files_directories_links_and_pipes_are_listed_but_not_sockets(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "inside").symlink_to("folder")
    (tmp_path / "outside").symlink_to("../../etc/passwd")
    (tmp_path / "broken").symlink_to("/nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with socket.socket(socket.AF_UNIX) as bound:
        at = os.open(tmp_path, os.O_PATH)
        try:
            bound.bind(f"/proc/self/fd/{at}/socket")
        finally:
            os.close(at)
        found = {entry.path: entry for entry in walk_context(tmp_path, DockerIgnore())}
    assert {path: (e.type, e.size, e.target) for path, e in found.items()} == {
        "broken": (EntryType.LINK, 0, "/nowhere"),
        "file": (EntryType.FILE, 5, ""),
        "folder": (EntryType.FOLDER, 0, ""),
        "inside": (EntryType.LINK, 0, "folder"),
        "outside": (EntryType.LINK, 0, "../../etc/passwd"),
        "pipe": (EntryType.PIPE, 0, ""),
    }
    assert found["file"].mode == 0o640
    assert found["file"].digest == hashlib.sha256(b"12345").hexdigest()
    assert found["inside"].digest == ""
    members = read_back(archived(tmp_path))
    assert {name: member.type for name, member in members.items()} == {
        "broken": tarfile.SYMTYPE,
        "file": tarfile.REGTYPE,
        "folder": tarfile.DIRTYPE,
        "inside": tarfile.SYMTYPE,
        "outside": tarfile.SYMTYPE,
        "pipe": tarfile.FIFOTYPE,
    }


def test_excluded_directory_is_listed_for_included_contents(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/kept").touch()
    (tmp_path / "a/left").touch()
    found = walk_context(tmp_path, DockerIgnore(["a", "!**/kept"]))
    assert [entry.path for entry in found] == ["a", "a/b", "a/b/kept"]


def test_engine_files_are_added_to_the_context(tmp_path: Path) -> None:
    for path in ("ci/Dockerfile", "ci/other", "z", ".dockerignore"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    seen = walk_context(tmp_path, DockerIgnore(["ci", ".dockerignore"]))
    assert [entry.path for entry in seen] == ["z"]
    paths = [
        e.path
        for e in with_engine_files(seen, tmp_path, "ci/Dockerfile", ".dockerignore", "absent")
    ]
    assert paths == [".dockerignore", "ci", "ci/Dockerfile", "z"]


def test_archive_depends_on_the_files_only(tmp_path: Path) -> None:
    for name, time in (("one", 1_000), ("two", 2_000_000_000)):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "файл").write_text("x")
        os.utime(tmp_path / name / "sub" / "файл", (time, time))
    first, second = archived(tmp_path / "one"), archived(tmp_path / "two")
    assert first == second
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in read_back(first).values()} == {
        (0, 0, "", "", MTIME)
    }


@pytest.mark.parametrize("name", ["文件", "a b", "x" * 200, b"\xff\xfe", "new\nline", "*?[", "é"])
def test_any_file_name_is_preserved(tmp_path: Path, name: str | bytes) -> None:
    text = os.fsdecode(name)
    (tmp_path / text).write_text("content")
    (tmp_path / "link").symlink_to(text)
    members = read_back(archived(tmp_path))
    assert set(members) == {"link", text}
    assert members["link"].linkname == text


class TestBadFiles:
    def test_unreadable_file_is_named(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o755)
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/secret").touch(mode=0o000)
        (found,) = [e for e in walk_context(tmp_path, DockerIgnore()) if e.type is EntryType.FILE]
        for parent in tmp_path.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
        with (
            unprivileged(),
            pytest.raises(UnreadableContext, match=r"'sub/secret'.*Permission denied"),
        ):
            _ = found.digest
        with (
            unprivileged(),
            pytest.raises(UnreadableContext, match=r"'sub/secret'.*Permission denied"),
        ):
            write_context([found], io.BytesIO())

    def test_unreadable_directory_is_named_unless_it_is_excluded(self, tmp_path: Path) -> None:
        (tmp_path / "closed").mkdir(mode=0o000)
        for parent in (tmp_path, *tmp_path.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o055)
        with unprivileged():
            with pytest.raises(UnreadableContext, match=r"'closed'.*Permission denied"):
                walk_context(tmp_path, DockerIgnore())
            assert walk_context(tmp_path, DockerIgnore(["closed"])) == []

    def test_context_that_is_not_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(UnreadableContext, match="No such file"):
            walk_context(tmp_path / "absent", DockerIgnore())

    @pytest.mark.parametrize("content", [b"12", b"12345678"])
    def test_file_that_changes_while_it_is_read(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "log").write_bytes(b"12345")
        found = walk_context(tmp_path, DockerIgnore())
        (tmp_path / "log").write_bytes(content)
        with pytest.raises(UnreadableContext, match="'log' changed"):
            write_context(found, io.BytesIO())

    def test_file_that_disappears(self, tmp_path: Path) -> None:
        (tmp_path / "gone").touch()
        found = walk_context(tmp_path, DockerIgnore())
        (tmp_path / "gone").unlink()
        with pytest.raises(UnreadableContext, match="'gone'"):
            write_context(found, io.BytesIO())
