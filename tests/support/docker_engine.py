"""A Docker Engine for tests, which shares nothing with an engine that the machine may run.

It has no bridge and no firewall rules, so that the machine's network is unchanged; containers use
the host network or none. Its one image, `box:1`, contains a small static program.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.debian import find_program
from tests.support.die_with_parent import die_with_parent

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PACKAGES = {
    "dockerd": "docker.io",
    "docker-proxy": "docker.io",
    "containerd": "containerd",
    "runc": "runc",
    "gcc": "gcc",
}
"""Programs that an engine needs, and the Debian packages that hold them."""
START_TIMEOUT = 180.0
IMAGE = "box:1"

_PROGRAM = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ignore(int number) { (void)number; }

/* Actions: print=TEXT, env=NAME, exit=CODE, sleep=SECONDS, eat=MIB, ignore_sigterm. */
int main(int count, char **actions) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < count; i++) {
        char *name = strtok(actions[i], "="), *value = strtok(NULL, "");
        if (!strcmp(name, "print")) puts(value);
        if (!strcmp(name, "env")) puts(getenv(value) ? getenv(value) : "");
        if (!strcmp(name, "exit")) return atoi(value);
        if (!strcmp(name, "ignore_sigterm")) signal(SIGTERM, ignore);
        if (!strcmp(name, "sleep")) for (int left = atoi(value); left;) left = sleep(left);
        if (!strcmp(name, "eat")) for (int mib = atoi(value); mib--;) {
            char *page = malloc(1 << 20);
            if (page) memset(page, 1, 1 << 20);
        }
    }
    return 0;
}
"""


def lacks() -> str:
    """Why this machine cannot run an engine; "" if it can."""
    if os.geteuid():
        return "a Docker Engine needs root"
    missing = [name for name in _PACKAGES if not _program(name)]
    return f"a Docker Engine for tests needs {', '.join(missing)}" if missing else ""


def _program(name: str) -> str | None:
    return find_program(name, _PACKAGES[name], PATH)


def _path() -> str:
    """PATH with the folders of all programs: the engine starts containerd, runc and its proxy."""
    folders = {str(Path(found).parent) for name in _PACKAGES if (found := _program(name))}
    return os.pathsep.join([PATH, *sorted(folders)])


class NotStarted(Exception):
    """The engine exited or did not listen in time; the message contains the end of its log."""


class DockerEngine:
    """An engine with the image that runs inside the context manager, until it is stopped.

    `storage`: the storage driver. `vfs` works everywhere, `overlay2` is the usual one.
    """

    def __init__(self, storage: str = "vfs") -> None:
        self._storage = storage
        self.folder = Path(tempfile.mkdtemp(prefix="docker-"))
        self.url = f"unix://{self.folder}/socket"
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None

    def __enter__(self) -> DockerEngine:
        try:
            self.start()
            self._client.api.import_image_from_data(rootfs(self.folder), *IMAGE.split(":"))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def client(self) -> Any:
        """A docker-py client of the engine."""
        return self._client

    def start(self) -> None:
        """Starts the engine on its existing data. Raises NotStarted."""
        flags = {
            "data-root": self.folder / "data",
            "exec-root": self.folder / "exec",
            "pidfile": self.folder / "pid",
            "host": self.url,
            "storage-driver": self._storage,
            "iptables": "false",
            "ip6tables": "false",
            "ip-forward": "false",
            "bridge": "none",
        }
        dockerd = [str(_program("dockerd")), *(f"--{name}={flags[name]}" for name in flags)]
        self._process = start_program(dockerd, os.environ | {"PATH": _path()}, self.log)
        self._client = connect(self._process, self.url, self.log)

    def stop(self) -> None:
        """Stops the engine and its containers; keeps its data."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_TIMEOUT)
            self._process = None

    def close(self) -> None:
        """Removes all containers, stops the engine and deletes its data."""
        if self._client is not None:
            for container in self._client.containers.list(all=True):
                container.remove(force=True)
        self.stop()
        for left in self.folder.glob("exec/netns/*"):  # of containers in the machine's network
            subprocess.run(["umount", left], check=False, stderr=subprocess.DEVNULL)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def start_program(
    command: Sequence[str], env: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a program that dies with this process, with its output in a log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            die_with_parent(*command),
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def connect(process: subprocess.Popen[bytes], url: str, log: Path) -> Any:
    """Waits until an engine listens; returns a docker-py client of it. Raises NotStarted."""
    import docker

    deadline = time.monotonic() + START_TIMEOUT
    while not listens(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(log.read_text()[-2000:])
        time.sleep(0.1)
    return docker.DockerClient(base_url=url, version="auto")


def listens(url: str) -> bool:
    """Whether a server accepts connections at a URL like `unix:///folder/socket`."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(url.removeprefix("unix://")) == 0


def rootfs(folder: Path) -> bytes:
    """A tar archive with the program as `/box`."""
    source, program = folder / "box.c", folder / "box"
    source.write_text(_PROGRAM)
    subprocess.run(["gcc", "-static", "-O1", "-o", program, source], check=True)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program, "box")
    return archive.getvalue()
