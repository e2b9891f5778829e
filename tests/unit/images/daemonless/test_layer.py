"""Reproducible layers."""

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

from deployctl.images.context import EntryType, UnreadableContext, walk_context
from deployctl.images.daemonless.layer import LayerNotWritten, write_layer
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.tar import MTIME, Owner, TarMember

ITEMS = {
    "b.txt": TarMember(EntryType.FILE, 0o644, content=b"b"),
    "a": TarMember(EntryType.FOLDER, 0o755),
    "a/link": TarMember(EntryType.LINK, 0o777, target="../b.txt"),
    "a/ünïcode ☃": TarMember(EntryType.FILE, 0o600, Owner(1000, 2000), content=b"snow"),
    "a-b": TarMember(EntryType.FILE, 0o644, content=b""),
}


def test_digest_depends_on_the_content_only(tmp_path: Path) -> None:
    """The digest does not depend on the machine or on Python's compressor."""
    blob = write_layer(ITEMS, tmp_path / "layer")
    again = write_layer(dict(reversed(ITEMS.items())), tmp_path / "again")
    assert blob.digest == again.digest == GOLDEN


GOLDEN = "sha256:49088a2ff8166cde09b9674ac5be7922c878957c725a342206d92ce56ea26ba9"


_OF_A_FOLDER = """
import sys
from pathlib import Path
from deployctl.images.context import walk_context
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.daemonless.layer import write_layer
from deployctl.images.tar import TarMember
walked = walk_context(Path(sys.argv[1]), DockerIgnore(["*.md"]))
items = {each.path: TarMember.of(each) for each in walked}
print(write_layer(items, Path(sys.argv[2])).digest)
"""


def test_file_names_do_not_depend_on_the_locale(tmp_path: Path) -> None:
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


def test_layer_is_readable_as_tar(tmp_path: Path) -> None:
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


def test_files_of_a_layer_can_be_zipped(tmp_path: Path) -> None:
    """ZIP has no time before 1980."""
    write_layer({"flow.py": TarMember(EntryType.FILE, 0o644, content=b"1")}, tmp_path / "layer")
    subprocess.run(["tar", "-xzf", "layer", "flow.py"], cwd=tmp_path, check=True)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.write(tmp_path / "flow.py")


@pytest.mark.parametrize("size", [0, 1, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFE, 3_000_000])
def test_content_of_any_size_round_trips(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    write_layer({"file": TarMember(EntryType.FILE, 0o644, content=content)}, tmp_path / "layer")
    with tarfile.open(tmp_path / "layer", "r:gz") as tar:
        file = tar.extractfile("file")
        assert file is not None
        assert file.read() == content


def test_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    file = tmp_path / "context" / "log"
    file.write_text("1")
    items = {
        each.path: TarMember.of(each) for each in walk_context(tmp_path / "context", DockerIgnore())
    }
    file.write_text("12")
    with pytest.raises(UnreadableContext, match="'log' changed while it was read"):
        write_layer(items, tmp_path / "layer")


def test_file_that_is_written_after_the_walk_is_an_error(tmp_path: Path) -> None:
    """Otherwise the content tag would not match the content."""
    (tmp_path / "context").mkdir()
    file = tmp_path / "context" / "flow.py"
    file.write_text("1")
    (found,) = walk_context(tmp_path / "context", DockerIgnore())
    assert found.digest
    file.write_text("2")
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    with pytest.raises(UnreadableContext, match=r"'flow.py' changed while it was read"):
        write_layer({found.path: TarMember.of(found)}, tmp_path / "layer")


def test_disk_without_space_is_reported() -> None:
    items = {"file": TarMember(EntryType.FILE, 0o644, content=bytes(100_000))}
    with pytest.raises(
        LayerNotWritten, match="cannot write the layer to '/dev': No space left on device"
    ):
        write_layer(items, Path("/dev/full"))


def test_member_keeps_permissions_unless_a_mode_is_given(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    (tmp_path / "run").chmod(0o751)
    (tmp_path / "link").symlink_to("run")
    link, run = walk_context(tmp_path, DockerIgnore())
    assert TarMember.of(run).mode == 0o751
    assert TarMember.of(replace(run, mode=0o6751)).mode == 0o751
    assert TarMember.of(run, Owner(5, 6), 0o640) == TarMember(
        EntryType.FILE, 0o640, Owner(5, 6), content=run
    )
    assert TarMember.of(link, mode=0o640) == TarMember(EntryType.LINK, 0o777, target="run")
