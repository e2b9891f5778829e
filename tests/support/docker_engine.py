"""A Docker Engine of the tests' own: nothing of it is shared with one that the machine may run.

It has no bridge and no firewall rules, so that the machine's network stays as it is; containers use
the machine's own network or none. Its one image, `box:1`, holds a static program of a few lines.
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

from tests.support.die_with_parent import die_with_parent

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START_SECONDS = 180.0
IMAGE = "box:1"

_PROGRAM = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void ignore(int number) { (void)number; }

/* Actions: print=TEXT, env=NAME, exit=CODE, sleep=SECONDS, eat=MIB, ignore_sigterm. */
int main(int count, char **deeds) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < count; i++) {
        char *name = strtok(deeds[i], "="), *value = strtok(NULL, "");
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
    """Why this machine cannot have an engine; "" if it can."""
    if os.geteuid():
        return "a Docker Engine needs root"
    missing = [name for name in ("dockerd", "containerd", "runc", "gcc") if not _program(name)]
    return f"a Docker Engine for tests needs {', '.join(missing)}" if missing else ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=PATH)


class NotStarted(Exception):
    """The engine ended, or did not answer in time; the message holds the end of its log."""


class DockerEngine:
    """A context manager; inside it the engine runs and has the image, unless it was stopped.

    `storage`: its driver. `vfs` works everywhere, `overlay2` is what engines really have.
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
        """Starts the engine on the data that it has. Raises NotStarted."""
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
        self._process = begun(dockerd, os.environ | {"PATH": PATH}, self.log)
        self._client = client_of(self._process, self.url, self.log)

    def stop(self) -> None:
        """Ends the engine; its containers end with it, its data stay."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_SECONDS)
            self._process = None

    def close(self) -> None:
        """Removes all containers, ends the engine and deletes its data."""
        if self._client is not None:
            for container in self._client.containers.list(all=True):
                container.remove(force=True)
        self.stop()
        for left in self.folder.glob("exec/netns/*"):  # of containers in the machine's network
            subprocess.run(["umount", left], check=False, stderr=subprocess.DEVNULL)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)


def begun(command: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A program that dies with this process, and writes into a log."""
    with log.open("ab") as file:
        return subprocess.Popen(
            die_with_parent(*command),
            env=env,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def client_of(process: subprocess.Popen[bytes], url: str, log: Path) -> Any:
    """A docker-py client of an engine, as soon as it listens. Raises NotStarted."""
    import docker

    deadline = time.monotonic() + START_SECONDS
    while not listens(url):
        if process.poll() is not None or time.monotonic() > deadline:
            raise NotStarted(log.read_text()[-2000:])
        time.sleep(0.1)
    return docker.DockerClient(base_url=url, version="auto")


def listens(url: str) -> bool:
    """Whether somebody takes connections at a URL like `unix:///folder/socket`."""
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
