"""Runs external programs and captures their output: the only user of `subprocess`.

One loop in the calling thread reads both streams and passes their lines on while the program runs,
so `on_line` needs no lock. A program leads a process group of its own. On timeout and cancellation
the whole group receives SIGTERM, and SIGKILL after a grace period. Ctrl-C in the terminal doesn't
reach the group; only the `cancellation` that a caller passes does, polled ten times a second. No
shell is involved.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import ProgramError

LineCallback = Callable[[str, str], None]
"""Receives the name of the stream, `stdout` or `stderr`, and a line without its line end."""

_POLL_INTERVAL = 0.1
_TERMINATION_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class CompletedProgram:
    """The exit status and the output of a program."""

    returncode: int
    """The exit code; -n if signal n ended the program."""
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None,
    timeout: float | None,
    on_line: LineCallback | None = None,
    cancellation: CancellationToken | None = None,
    input: str | None = None,  # noqa: A002 - as in subprocess.run
) -> CompletedProgram:
    """Runs a program and returns its output, whatever its exit code.

    `env` is the complete environment (None: ours), `timeout` is in seconds, `input` is the text on
    standard input (None: nothing). The program counts as completed when it has exited and all
    processes have closed its output streams. Output that is not UTF-8 is decoded with replacement
    characters.

    Raises ProgramError if the program cannot be started or times out, Interrupted on cancellation.
    """
    deadline = _Deadline(None if timeout is None else time.monotonic() + timeout, cancellation)
    with ExitStack() as cleanup:
        child = cleanup.enter_context(_start(argv, cwd, env, input))
        output = cleanup.enter_context(closing(_Output(child, on_line)))
        if cancellation is not None:
            cancellation.process_groups.add(child.pid)
            cleanup.callback(cancellation.process_groups.discard, child.pid)
        cleanup.callback(_terminate_group, child, output)
        try:
            while output.is_open:
                output.read(deadline.next_wait())
            returncode = _wait(child, deadline)
        except TimeoutError as error:
            message = f"'{argv[0]}' took longer than {timeout:g} seconds and was stopped"
            raise ProgramError(message) from error
        return CompletedProgram(returncode, *output.texts)


def _start(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None, text: str | None
) -> subprocess.Popen[bytes]:
    with tempfile.TemporaryFile() as stdin:
        if text is not None:
            stdin.write(text.encode())
            stdin.seek(0)
        try:
            return subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            if not cwd.is_dir():
                message = f"the folder '{cwd}' for running '{argv[0]}' does not exist"
                raise ProgramError(message) from error
            if isinstance(error, FileNotFoundError):
                raise ProgramError(
                    f"the program '{argv[0]}' was not found",
                    help="Install it, or add its folder to PATH.",
                ) from error
            reason = getattr(error, "strerror", None) or error
            raise ProgramError(f"'{argv[0]}' could not be started: {reason}") from error


@dataclass(slots=True)
class _Stream:
    """The text of one output stream so far."""

    name: str
    on_line: LineCallback | None
    chunks: list[str] = field(default_factory=list)
    partial_line: str = ""
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def feed(self, chunk: bytes) -> None:
        """Adds bytes that were read; an empty chunk means the end of the stream."""
        text = self.decoder.decode(chunk, final=not chunk)
        self.chunks.append(text)
        if self.on_line is None:
            return
        *lines, self.partial_line = (self.partial_line + text).split("\n")
        if not chunk and self.partial_line:
            lines.append(self.partial_line)
        for line in lines:
            self.on_line(self.name, line.removesuffix("\r"))


@dataclass(frozen=True, slots=True)
class _Deadline:
    """When to stop waiting for a program."""

    deadline: float | None
    cancellation: CancellationToken | None

    def next_wait(self) -> float | None:
        """Returns the seconds until the next check; None means no limit.

        Raises TimeoutError after the deadline, Interrupted on cancellation.
        """
        if self.cancellation is not None:
            self.cancellation.raise_if_cancelled()
        wait = None if self.cancellation is None else _POLL_INTERVAL
        if self.deadline is None:
            return wait
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining if wait is None else min(remaining, wait)


class _Output:
    """Reads both output streams of a program."""

    def __init__(self, child: subprocess.Popen[bytes], on_line: LineCallback | None) -> None:
        assert child.stdout is not None
        assert child.stderr is not None
        self._selector = selectors.DefaultSelector()
        self._streams = _Stream("stdout", on_line), _Stream("stderr", on_line)
        for pipe, stream in zip((child.stdout, child.stderr), self._streams, strict=True):
            self._selector.register(pipe, selectors.EVENT_READ, stream)

    @property
    def is_open(self) -> bool:
        """Whether a stream is still open."""
        return bool(self._selector.get_map())

    @property
    def texts(self) -> tuple[str, str]:
        """The text of stdout and stderr so far."""
        out, err = ("".join(stream.chunks) for stream in self._streams)
        return out, err

    def read(self, timeout: float | None) -> None:
        """Reads what is available, waiting up to `timeout` seconds (None: without limit)."""
        for key, _ in self._selector.select(timeout):
            chunk = os.read(key.fd, 65536)
            key.data.feed(chunk)
            if not chunk:
                self._selector.unregister(key.fileobj)

    def close(self) -> None:
        """Stops reading."""
        self._selector.close()


def _wait(child: subprocess.Popen[bytes], deadline: _Deadline) -> int:
    """Waits for the exit of a program that has closed its streams."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(deadline.next_wait())


def _terminate_group(child: subprocess.Popen[bytes], output: _Output) -> None:
    """Terminates the process group of a program that has not exited, with a grace period."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        try:
            os.killpg(child.pid, signal.SIGTERM)
            end = time.monotonic() + _TERMINATION_GRACE
            while time.monotonic() < end:
                child.poll()
                output.read(_POLL_INTERVAL / 10)
                os.killpg(child.pid, 0)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
