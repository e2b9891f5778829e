"""Layers that are the same on any machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.images.context import MTIME, EntryType, UnreadableContext, walk_context
from deployctl.images.daemonless.layer import LayerEntry, LayerNotWritten, Owner, write_layer
from deployctl.images.dockerignore import DockerIgnore

ITEMS = {
    "b.txt": LayerEntry(EntryType.FILE, 0o644, content=b"b"),
    "a": LayerEntry(EntryType.FOLDER, 0o755),
    "a/link": LayerEntry(EntryType.LINK, 0o777, target="../b.txt"),
    "a/ünïcode ☃": LayerEntry(EntryType.FILE, 0o600, Owner(1000, 2000), content=b"snow"),
    "a-b": LayerEntry(EntryType.FILE, 0o644, content=b""),
}


def test_a_layer_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    """The digest is the same wherever this runs, with whatever compressor Python has."""
    blob = write_layer(ITEMS, tmp_path / "layer")
    again = write_layer(dict(reversed(ITEMS.items())), tmp_path / "again")
    assert blob.digest == again.digest == GOLDEN


GOLDEN = "sha256:49088a2ff8166cde09b9674ac5be7922c878957c725a342206d92ce56ea26ba9"


_OF_A_FOLDER = """
import sys
from pathlib import Path
from deployctl.images.context import walk_context
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.daemonless.layer import LayerEntry, write_layer
walked = walk_context(Path(sys.argv[1]), DockerIgnore(["*.md"]))
items = {each.path: LayerEntry.of(each) for each in walked}
print(write_layer(items, Path(sys.argv[2])).digest)
"""


def test_names_do_not_depend_on_the_locale(tmp_path: Path) -> None:
    folder = tmp_path / "context"
    (folder / "данные").mkdir(parents=True)
    (folder / "данные" / "naïve ☃").touch()
    (folder / "данные" / "link").symlink_to("naïve ☃")
    utf8, ascii_ = {"PYTHONUTF8": "1"}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    digests = [
        subprocess.run(
            [sys.executable, "-c", _OF_A_FOLDER, folder, tmp_path / "layer"],
            env={"LC_ALL": "C", **env},
            capture_output=True,
            check=True,
        ).stdout
        for env in (utf8, ascii_)
    ]
    assert digests[0] == digests[1]


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    blob = write_layer(ITEMS, tmp_path / "layer")
    packed = (tmp_path / "layer").read_bytes()
    plain = gzip.decompress(packed)
    assert blob.size == len(packed)
    assert blob.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert blob.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        found = {each.name: each for each in tar}
        snow = found["a/ünïcode ☃"]
        assert list(found) == ["a", "a/link", "a/ünïcode ☃", "a-b", "b.txt"]
        assert (snow.mode, snow.uid, snow.gid, snow.mtime) == (0o600, 1000, 2000, MTIME)
        assert found["a/link"].linkname == "../b.txt"
        content = tar.extractfile(snow)
        assert content is not None
        assert content.read() == b"snow"


def test_programs_can_pack_what_came_from_a_layer(tmp_path: Path) -> None:
    """Also as ZIP, which knows no time before 1980."""
    write_layer({"flow.py": LayerEntry(EntryType.FILE, 0o644, content=b"1")}, tmp_path / "layer")
    with tarfile.open(tmp_path / "layer", "r:gz") as tar:
        tar.extract("flow.py", tmp_path, filter="tar")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(tmp_path / "flow.py")


@pytest.mark.parametrize("size", [0, 1, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 3_000_000])
def test_content_of_any_size_is_packed_whole(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    write_layer({"file": LayerEntry(EntryType.FILE, 0o644, content=content)}, tmp_path / "layer")
    with tarfile.open(tmp_path / "layer", "r:gz") as tar:
        file = tar.extractfile("file")
        assert file is not None
        assert file.read() == content


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    file = tmp_path / "context" / "log"
    file.write_text("1")
    items = {
        each.path: LayerEntry.of(each)
        for each in walk_context(tmp_path / "context", DockerIgnore())
    }
    file.write_text("12")
    with pytest.raises(UnreadableContext, match="'log' changed while it was read"):
        write_layer(items, tmp_path / "layer")


def test_a_file_that_gets_other_bytes_after_it_was_found_is_an_error(tmp_path: Path) -> None:
    """An image would be called by what it does not hold."""
    (tmp_path / "context").mkdir()
    file = tmp_path / "context" / "flow.py"
    file.write_text("1")
    (found,) = walk_context(tmp_path / "context", DockerIgnore())
    assert found.digest
    file.write_text("2")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    with pytest.raises(UnreadableContext, match=r"'flow.py' changed while it was read"):
        write_layer({found.path: LayerEntry.of(found)}, tmp_path / "layer")


def test_a_disk_without_space_is_said() -> None:
    items = {"file": LayerEntry(EntryType.FILE, 0o644, content=bytes(100_000))}
    with pytest.raises(
        LayerNotWritten, match="cannot be written to '/dev': No space left on device"
    ):
        write_layer(items, Path("/dev/full"))


def test_an_entry_keeps_its_rights_unless_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    (tmp_path / "run").chmod(0o751)
    (tmp_path / "link").symlink_to("run")
    link, run = walk_context(tmp_path, DockerIgnore())
    assert LayerEntry.of(run).mode == 0o751
    assert LayerEntry.of(replace(run, mode=0o6751)).mode == 0o751
    assert LayerEntry.of(run, Owner(5, 6), 0o640) == LayerEntry(
        EntryType.FILE, 0o640, Owner(5, 6), content=run
    )
    assert LayerEntry.of(link, mode=0o640) == LayerEntry(EntryType.LINK, 0o777, target="run")
