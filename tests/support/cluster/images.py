"""Container images built on this machine from Debian and Python packages, without a registry.

A node gets its images as an archive on a pipe, which is written each time from layers. Only layers
are cached, under a name with a hash of their inputs, so that images share the large ones (Debian
with Python, 150 MB) and a changed flow is cheap.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.cluster import tools
from tests.support.servers import ROOT

SOURCES = ROOT / "tests" / "cluster" / "node"
FLOWS = SOURCES / "flows.py"
PAUSE = "docker.io/library/pause:1"
DEBIAN = "bookworm"
PYTHON = "3.11"
"""The version in Debian bookworm."""
UNUSED = ("var/cache", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man")
PREFECT = f"#!/usr/bin/python{PYTHON}\nimport sys\nfrom prefect.cli import app\nsys.exit(app())\n"


@dataclass(frozen=True)
class Layer:
    """A cached tar archive of files."""

    path: Path
    digest: str
    """SHA-256 of the archive, hexadecimal."""


@dataclass(frozen=True)
class Image:
    """An image for nodes to run."""

    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...]
    env: tuple[str, ...] = ()
    folder: str = "/"

    @property
    def config(self) -> bytes:
        """The OCI image configuration."""
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        content = {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {
                "Env": [path, *self.env],
                "Entrypoint": list(self.entrypoint),
                "WorkingDir": self.folder,
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{layer.digest}" for layer in self.layers],
            },
        }
        return json.dumps(content).encode()


def pause_image() -> Image:
    """The pause image, which holds the namespaces of a pod."""
    return Image(
        PAUSE, (cached_layer("pause", (SOURCES / "pause.c").read_bytes(), _pause),), ("/pause",)
    )


def debian_layer() -> Layer:
    """Debian with Python and its module venv, tini, and certificates."""
    return cached_layer("debian", b"", _debian)


def flow_image(version: str) -> Image:
    """`docker.io/library/flow:VERSION`: Python, Prefect, and the flows in `/opt/app`."""
    pins = ROOT / "tests" / "servers" / f"prefect-{version}.txt"
    debian = debian_layer()
    prefect = cached_layer(
        f"prefect-{version}",
        pins.read_bytes(),
        lambda folder: _prefect(folder, version, pins),
    )
    flows = cached_layer("flows", FLOWS.read_bytes(), _flows)
    return Image(
        f"docker.io/library/flow:{version}",
        (debian, prefect, flows),
        ("tini", "-g", "--"),
        ("PYTHONPATH=/opt/site", "PYTHONUNBUFFERED=1", "DO_NOT_TRACK=1"),
        "/opt/app",
    )


def write_archive(images: Iterable[Image], out: IO[bytes]) -> None:
    """Write images in the format of `docker save`; shared layers are written once."""
    manifest = []
    written = set()
    with tarfile.open(fileobj=out, mode="w|", bufsize=2**20) as archive:
        for image in images:
            config = f"{hashlib.sha256(image.config).hexdigest()}.json"
            names = [f"{layer.digest}.tar" for layer in image.layers]
            for layer, name in zip(image.layers, names, strict=True):
                if name not in written:
                    archive.add(layer.path, name)
                    written.add(name)
            _put(archive, config, image.config)
            manifest.append({"Config": config, "RepoTags": [image.name], "Layers": names})
        _put(archive, "manifest.json", json.dumps(manifest).encode())


def _put(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def cached_layer(name: str, inputs: bytes, fill: Callable[[Path], None]) -> Layer:
    """The layer of the files that `fill` writes into a folder, from the cache if possible.

    `inputs` is what the files depend on in addition to this module.
    """
    cache = tools.CACHE / "layers"
    cache.mkdir(parents=True, exist_ok=True)
    input_hash = hashlib.sha256(Path(__file__).read_bytes() + inputs)
    stem = f"{name}-{input_hash.hexdigest()[:16]}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = next(cache.glob(f"{stem}.*.tar"), None)
        if found is None:
            found = _build_layer(cache, stem, fill)
    return Layer(found, found.suffixes[-2].removeprefix("."))


def _build_layer(cache: Path, stem: str, fill: Callable[[Path], None]) -> Path:
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        files, layer = Path(scratch, "files"), Path(scratch, "layer.tar")
        files.mkdir(mode=0o755)
        fill(files)
        _run("tar", "--create", "--numeric-owner", "--sort=name", "-C", files, "-f", layer, ".")
        with layer.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return layer.rename(cache / f"{stem}.{digest}.tar")


def _pause(files: Path) -> None:
    _run("gcc", "-static", "-O2", "-o", files / "pause", SOURCES / "pause.c")


def _debian(files: Path) -> None:
    packages = "--include=python3,python3-venv,tini,ca-certificates"
    _run("debootstrap", "--variant=minbase", packages, DEBIAN, files)
    for unused in UNUSED:
        shutil.rmtree(files / unused)
        (files / unused).mkdir()


def _prefect(files: Path, version: str, pins: Path) -> None:
    install = (ROOT / "scripts" / "install.sh", sys.prefix, "--compile-bytecode")
    target = ("--target", files / "opt" / "site", "--python-version", PYTHON)
    _run(*install, *target, "--constraint", pins, f"prefect=={version}")
    program = files / "usr" / "local" / "bin" / "prefect"
    program.parent.mkdir(parents=True)
    program.write_text(PREFECT)
    program.chmod(0o755)


def _flows(files: Path) -> None:
    (files / "opt" / "app").mkdir(parents=True)
    shutil.copy(FLOWS, files / "opt" / "app")


def _run(*command: str | Path) -> None:
    """Run a program; raises `CalledProcessError` with its output if it fails."""
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode:
        error = subprocess.CalledProcessError(ended.returncode, list(map(str, command)))
        error.add_note(ended.stdout)
        raise error
