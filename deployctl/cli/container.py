"""What a hook leaves in its container: its output in the log, and the reason of a failure.

The output of a postStart hook goes nowhere. The container's log is what its first process writes to
its standard output, so a copy goes there. Kubernetes shows the termination message of a container
in the status of its pod. Neither ever fails a command or blocks it.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from deployctl.core.redact import redact

LOG = Path("/proc/1/fd/1")
_TERMINATION_LOG = "/dev/termination-log"
_MAX_MESSAGE = 4096
"""Bytes that Kubernetes reads of a termination message."""
_MAX_WAIT = 1000
"""Milliseconds that a write waits for the reader of the log."""
_FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY


def copy_output_to_log(environ: Mapping[str, str], log: Path = LOG) -> None:
    """Copies what is printed from now on to the log of the container.

    Does nothing outside of a pod, in a CI system, on a terminal, if the output is the log already,
    and if the log cannot be written.
    """
    if not _in_container(environ) or sys.stdout is None or sys.stdout.isatty():
        return
    with suppress(OSError, ValueError):
        ours, target = os.fstat(sys.stdout.fileno()), log.stat()
        if (ours.st_dev, ours.st_ino) == (target.st_dev, target.st_ino):
            return
        copy = _Log(os.open(log, _FLAGS | os.O_APPEND))
        sys.stdout, sys.stderr = _CopiedStream(sys.stdout, copy), _CopiedStream(sys.stderr, copy)


def write_termination_message(lines: Sequence[str], environ: Mapping[str, str]) -> None:
    """Writes why the command failed to the container's termination message, without secrets.

    Does nothing where there is none, and in a CI system.
    """
    path = environ.get("TERMINATION_LOG_PATH") or _TERMINATION_LOG
    if not _in_container(environ):
        return
    text = redact("\n".join(lines)).encode()[:_MAX_MESSAGE].decode(errors="ignore")
    with suppress(OSError):
        descriptor = os.open(path, _FLAGS | os.O_TRUNC)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)


def _in_container(environ: Mapping[str, str]) -> bool:
    """Whether this is a container of a pod that does not belong to a CI system."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and not environ.get("CI")


class _Log:
    """A file that is written without ever waiting for long; a failure ends the copy."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def write(self, text: str) -> None:
        """Writes text, or nothing more from now on."""
        rest = text.encode(errors="replace")
        while rest and self._descriptor is not None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                if not poll.poll(_MAX_WAIT):
                    self._descriptor = None
            except OSError:
                self._descriptor = None


class _CopiedStream:
    """A text stream of which the log gets a copy."""

    def __init__(self, stream: TextIO, copy: _Log) -> None:
        self._stream = stream
        self._copy = copy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text to both."""
        self._copy.write(text)
        return self._stream.write(text)
