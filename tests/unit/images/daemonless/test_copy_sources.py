"""Sources of COPY."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.context import ContextEntry, EntryType
from deployctl.images.daemonless.copy_sources import ContextFiles, NothingToCopy


def entry(path: str, kind: EntryType = EntryType.FILE, target: str = "") -> ContextEntry:
    return ContextEntry(path, kind, 0o644, 0, target, Path("/nowhere"))


FILES = ContextFiles(
    [
        *(entry(path, EntryType.FOLDER) for path in ("src", "src/deep", "zoo")),
        *(entry(path) for path in ("a.py", "b.py", "c[1].py", "ab", "a-b", "d.txt")),
        *(entry(path) for path in ("src/a.py", "src/deep/x", "zoo/a.py", ".hidden")),
        entry("to-file", EntryType.LINK, "src/a.py"),
        entry("to-folder", EntryType.LINK, "./src"),
        entry("rooted", EntryType.LINK, "/src/deep"),
        entry("src/up", EntryType.LINK, "../a.py"),
        entry("above", EntryType.LINK, "../../a.py"),
        entry("gone", EntryType.LINK, "nothing"),
        entry("round", EntryType.LINK, "round"),
    ]
)


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (".", [(".", None)]),
        ("./", [(".", None)]),
        ("/", [(".", None)]),
        ("src/..", [(".", None)]),
        ("a.py", [("a.py", "a.py")]),
        ("/a.py", [("a.py", "a.py")]),
        ("./src/../a.py", [("a.py", "a.py")]),
        ("src", [("src", "src")]),
        ("src/", [("src", "src")]),
        ("*.py", [("a.py", "a.py"), ("b.py", "b.py"), ("c[1].py", "c[1].py")]),
        ("?.py", [("a.py", "a.py"), ("b.py", "b.py")]),
        ("[ac].py", [("a.py", "a.py")]),
        ("[^a].py", [("b.py", "b.py")]),
        ("[a-b].py", [("a.py", "a.py"), ("b.py", "b.py")]),
        (r"a[\-]b", [("a-b", "a-b")]),
        (r"c\[1\].py", [("c[1].py", "c[1].py")]),
        (".*", [(".hidden", ".hidden")]),
        ("*/a.py", [("a.py", "src/a.py"), ("a.py", "zoo/a.py")]),
        ("**/a.py", [("a.py", "src/a.py"), ("a.py", "zoo/a.py")]),
        ("*.nothing", []),
        ("to-file", [("to-file", "src/a.py")]),
        ("to-*e", [("to-file", "src/a.py")]),
        ("to-folder", [("to-folder", "src")]),
        ("to-folder/deep/x", [("x", "src/deep/x")]),
        ("rooted/x", [("x", "src/deep/x")]),
        ("src/up", [("up", "a.py")]),
        ("above", [("above", "a.py")]),
    ],
)
def test_source_matches(source: str, named: list[tuple[str, str | None]]) -> None:
    found = [(name, each and each.path) for name, each in FILES.match(source)]
    assert found == named


@pytest.mark.parametrize("source", ["x", "src/x", "a.py/x", "gone", "round", "to-file/x"])
def test_source_outside_the_context_is_an_error(source: str) -> None:
    with pytest.raises(NothingToCopy, match="is not in the build context"):
        FILES.match(source)


@pytest.mark.parametrize(
    ("target", "shown"), [("/etc/passwd", "/etc/passwd"), ("../out", "../out"), ("b", "gone")]
)
def test_dangling_link_is_named(target: str, shown: str) -> None:
    files = ContextFiles(
        [entry("leak", EntryType.LINK, target), entry("b", EntryType.LINK, "gone")]
    )
    with pytest.raises(NothingToCopy) as error:
        files.match("leak")
    assert f"'leak' is a link to '{shown}'" in error.value.message
    assert "Replace the link" in str(error.value.help)


@pytest.mark.parametrize("source", ["..", "../x", "src/../../x"])
def test_nothing_outside_the_context_is_copied(source: str) -> None:
    with pytest.raises(NothingToCopy, match="is outside the build context"):
        FILES.match(source)


def test_entries_below_a_directory() -> None:
    src = FILES.match("src")[0][1]
    assert [name for name, _ in FILES.below(src)] == ["deep", "deep/x", "a.py", "up"]
    everything = [name for name, _ in FILES.below(None)]
    assert everything[:4] == ["src", "src/deep", "src/deep/x", "src/a.py"]
    assert len(everything) == 20
