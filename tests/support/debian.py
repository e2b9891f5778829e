"""Programs of Debian packages that the tests need, without installing them.

A package is downloaded with apt and unpacked into the cache; nothing is installed and no service
starts, so it works without root and changes nothing on the machine.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.support.cluster.tools import CACHE

_BIN = ("usr/sbin", "usr/bin", "sbin", "bin")


def find_program(
    name: str, package: str, path: str | None = None, folders: tuple[str, ...] = _BIN
) -> str | None:
    """Path of a program: the machine's own, else that of the unpacked package.

    `path`: where to look first, as in PATH; `folders`: where the package has its programs. None
    where apt can't download the package.
    """
    if found := shutil.which(name, path=path):
        return found
    folder = CACHE / package
    if not folder.exists():
        _unpack(package, folder)
    return next(filter(None, (shutil.which(folder / part / name) for part in folders)), None)


def _unpack(package: str, folder: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as downloads:
        for command in (["download", package], ["update"], ["download", package]):
            subprocess.run(["apt-get", "--quiet", *command], cwd=downloads, check=False)
            if files := list(Path(downloads).glob("*.deb")):
                unpacked = Path(downloads) / "unpacked"
                subprocess.run(["dpkg-deb", "-x", files[0], unpacked], check=True)
                with suppress(OSError):  # another test process was quicker
                    unpacked.rename(folder)
                break
