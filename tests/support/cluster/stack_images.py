"""Images for a stack on a node: PostgreSQL, a project, and a run that costs little CPU time."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support import worker_image
from tests.support.cluster.images import (
    DEBIAN,
    SOURCES,
    UNUSED,
    Image,
    cached_layer,
    debian_layer,
)
from tests.support.cluster.node import Node

POSTGRES = "postgres:15"
QUICK = "quick:1"
_ENTRYPOINT = SOURCES / "postgres.sh"
_QUICK = SOURCES / "quick.py"
_BIN = "/usr/lib/postgresql/15/bin"
_UID = "999"
"""The user of the official image."""
_COMPILER = ("libLLVM-14.so.1", "libLLVM-14.so")
"""110 MB for queries that the tests don't have; PostgreSQL works without."""


def postgres_image() -> Image:
    """`postgres:15`: PostgreSQL of Debian, with the behaviour of the official image."""
    inputs = inspect.getsource(_postgres).encode() + _ENTRYPOINT.read_bytes()
    layer = cached_layer("postgres", inputs, _postgres)
    return Image(f"docker.io/library/{POSTGRES}", (layer,), ("postgres.sh",))


def quick_image() -> Image:
    """`quick:1`: `quick.py` as the process of a run."""
    layer = cached_layer("quick", _QUICK.read_bytes(), _quick)
    entrypoint = ("python3", f"/opt/app/{_QUICK.name}")
    return Image(f"docker.io/library/{QUICK}", (debian_layer(), layer), entrypoint)


def load_projects(node: Node, folders: Mapping[str, Path]) -> None:
    """Build images of project folders on that of deployctl, and load them into the node."""
    with worker_image.fast_engine() as engine, tempfile.NamedTemporaryFile() as content:
        worker_image.load(engine)
        for name, folder in folders.items():
            (folder / "Dockerfile").write_text(f"FROM {worker_image.NAME}\nCOPY . ./\n")
            engine.client.images.build(path=str(folder), tag=name, network_mode="none")
            content.seek(0)
            content.truncate()
            for chunk in engine.client.images.get(name).save(named=True):
                content.write(chunk)
            content.flush()
            node.load(Path(content.name))


def _postgres(files: Path) -> None:
    install = ["debootstrap", "--variant=minbase", "--include=postgresql-15", DEBIAN, str(files)]
    for command in (install, ["chroot", str(files), "usermod", "--uid", _UID, "postgres"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for unused in (*UNUSED, "var/lib/postgresql/15"):
        shutil.rmtree(files / unused)
    (files / "var/lib/postgresql/data").mkdir()
    (library,) = files.glob("usr/lib/*/libLLVM-14.so.1")
    for name in _COMPILER:
        (library.parent / name).unlink()
    (files / _BIN.lstrip("/") / "../lib/llvmjit.so").unlink()
    programs = files / "usr/local/bin"
    shutil.copy(_ENTRYPOINT, programs)
    for each in (files / _BIN.lstrip("/")).iterdir():
        (programs / each.name).symlink_to(f"{_BIN}/{each.name}")


def _quick(files: Path) -> None:
    (files / "opt" / "app").mkdir(parents=True)
    shutil.copy(_QUICK, files / "opt" / "app")
