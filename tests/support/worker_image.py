"""deployctl's image, built from the Dockerfile of the repository by a real Docker Engine.

Nothing is pulled: the base image is the Debian of the other images of the tests, with the wheels
that `image/requirements.txt` locks. The built image is cached until a file of it changes, so that
the test processes of a run build it once.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.cluster import tools
from tests.support.cluster.images import PYTHON, Image, cached_layer, debian_layer, write_archive
from tests.support.docker_engine import DockerEngine, NotStarted
from tests.support.servers import ROOT

BASE = "debian-python:1"
NAME = "deployctl:test"
_LOCKS = tuple(ROOT / "image" / name for name in ("requirements.txt", "build-requirements.txt"))
_SOURCES = ("Dockerfile", "pyproject.toml", "README.md", "LICENSE", "image", "deployctl")
"""Files and folders that the image is built from."""
_PIP_SETTINGS = "[global]\nno-index = true\nfind-links = /opt/wheels\n"
_KEPT_SECONDS = 24 * 3600.0
"""How long the image of other sources stays in the cache: other test runs may use it."""


@contextmanager
def fast_engine() -> Iterator[DockerEngine]:
    """A Docker Engine that shares layers if the machine can, for images of hundreds of MB."""
    with ExitStack() as opened:
        try:
            engine = opened.enter_context(DockerEngine("overlay2"))
        except NotStarted:
            engine = opened.enter_context(DockerEngine())
        yield engine


def load(engine: DockerEngine) -> None:
    """Loads the image `NAME` into the engine, which builds it if it is not cached."""
    with _cache_entry() as path:
        if path.exists():
            with path.open("rb") as archive:
                engine.client.images.load(archive)
        else:
            _build(engine, path)


def archive() -> Path:
    """The image as an archive of `docker save`, for `Node.load`."""
    with _cache_entry() as path:
        if not path.exists():
            with fast_engine() as engine:
                _build(engine, path)
    return path


def base_image() -> Image:
    """Debian with Python, and with pip set up for the wheels in `/opt/wheels`; it has no tini."""
    inputs = Path(__file__).read_bytes() + b"".join(path.read_bytes() for path in _LOCKS)
    return Image(
        f"docker.io/library/{BASE}", (debian_layer(), cached_layer("wheels", inputs, _wheels)), ()
    )


def load_base(engine: DockerEngine) -> None:
    """Loads the base image `BASE` into the engine."""
    with tempfile.TemporaryFile() as content:
        write_archive([base_image()], content)
        content.seek(0)
        engine.client.images.load(content)


def _build(engine: DockerEngine, path: Path) -> None:
    """Builds the image without a network, and saves it."""
    load_base(engine)
    engine.client.images.build(
        path=str(ROOT), tag=NAME, buildargs={"BASE": BASE}, network_mode="none"
    )
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as content:
        for chunk in engine.client.images.get(NAME).save(named=True):
            content.write(chunk)
    Path(content.name).rename(path)


@contextmanager
def _cache_entry() -> Iterator[Path]:
    """The archive of the present sources, which may not exist; no other process makes it now."""
    cache = tools.CACHE / "worker-image"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for each in cache.glob("*.tar"):
            if time.time() - each.stat().st_mtime > _KEPT_SECONDS:
                each.unlink()
        yield cache / f"{_source_hash()}.tar"


def _source_hash() -> str:
    digest = hashlib.sha256(base_image().config)
    for name in _SOURCES:
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)} {file.stat().st_mode:o}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _wheels(files: Path) -> None:
    (files / "opt" / "wheels").mkdir(parents=True)
    for path in _LOCKS:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--require-hashes"]
        command += ["--only-binary=:all:", "--python-version", PYTHON, "--requirement", str(path)]
        subprocess.run([*command, "--dest", str(files / "opt" / "wheels")], check=True)
    (files / "etc").mkdir()
    (files / "etc" / "pip.conf").write_text(_PIP_SETTINGS)
    (files / "usr" / "bin").mkdir(parents=True)
    (files / "usr" / "bin" / ".wh.tini").touch()  # deletes the file of the layer below
