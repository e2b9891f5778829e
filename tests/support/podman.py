"""Podman's service for tests, which implements the Docker Engine API.

It shares nothing with a Podman of the machine. Its one image is `box:1`, as in `DockerEngine`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.docker_engine import PATH, START_TIMEOUT, connect, rootfs, start_program


def lacks() -> str:
    """Why this machine cannot run Podman; "" if it can."""
    if os.geteuid():
        return "Podman for tests needs root"
    missing = [name for name in ("podman", "runc", "gcc") if not shutil.which(name, path=PATH)]
    return f"Podman for tests needs {', '.join(missing)}" if missing else ""


class Podman:
    """A service with the image that runs inside the context manager."""

    def __init__(self, insecure: Sequence[str] = ()) -> None:
        """`insecure`: registries that are accessed by plain HTTP."""
        self.folder = Path(tempfile.mkdtemp(prefix="podman-"))
        self.url = f"unix://{self.folder}/socket"
        self.client: Any = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.folder / "log"
        texts = {
            "CONTAINERS_CONF": '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            'runtime = "runc"\n',
            "CONTAINERS_STORAGE_CONF": f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/g"\n'
            f'runroot = "{self.folder}/r"\n',
            "CONTAINERS_REGISTRIES_CONF": "".join(
                f'[[registry]]\nlocation = "{host}"\ninsecure = true\n' for host in insecure
            ),
        }
        self._env = os.environ | {"PATH": PATH} | {name: str(self.folder / name) for name in texts}
        for name, text in texts.items():
            (self.folder / name).write_text(text)

    def __enter__(self) -> Podman:
        try:
            command = [str(shutil.which("podman")), "system", "service", "--time=0", self.url]
            self._process = start_program(command, self._env, self._log)
            self.client = connect(self._process, self.url, self._log)
            self.client.api.import_image_from_data(rootfs(self.folder), "box")
            self.client.images.get("box").tag("docker.io/library/box", "1")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the service and deletes its data."""
        if self.client is not None:
            self.client.close()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(START_TIMEOUT)
        shutil.rmtree(self.folder)
