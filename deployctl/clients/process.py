"""Starts programs and gives what they print: the only door to `subprocess`.

Both streams are captured, and handed on line by line while the program runs, by one loop in the
calling thread; so a caller's `on_line` needs no lock. A program leads a process group of its own:
when its time is over, or somebody asks to stop, it ends with all that it started, after seconds to
clear up. A Ctrl-C in the terminal does not reach it by itself; the `cancellation` that a caller
hands in does, which is looked at ten times a second. There is never a shell in between.
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
"""Is told the stream, `stdout` or `stderr`, and a line of it without its end."""

_SECONDS_BETWEEN_LOOKS = 0.1
_GRACE_SECONDS = 5.0
"""For clearing up, between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class CompletedProgram:
    """How a program ended and everything that it printed."""

    returncode: int
    """Negative where a signal ended it."""
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
    input: str | None = None,  # noqa: A002 - the standard library's own word
) -> CompletedProgram:
    """Runs a program to its end, whatever its exit code, and gives what it printed.

    `env` is its whole environment (None: ours), `timeout` is in seconds, `input` is what it reads
    on its standard input (None: nothing). It is over when it has ended and nobody holds its
    streams any more. Output that is not UTF-8 is decoded with replacement characters.

    Raises ProgramError if it cannot be started or takes too long, Interrupted when cancelled.
    """
    patience = _Patience(None if timeout is None else time.monotonic() + timeout, cancellation)
    with ExitStack() as cleanup:
        child = cleanup.enter_context(_start(argv, cwd, env, input))
        output = cleanup.enter_context(closing(_Output(child, on_line)))
        if cancellation is not None:
            cancellation.process_groups.add(child.pid)
            cleanup.callback(cancellation.process_groups.discard, child.pid)
        cleanup.callback(_end_group, child, output)
        try:
            while output.is_open:
                output.read(patience.check())
            returncode = _wait(child, patience)
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
                raise ProgramError(f"there is no folder '{cwd}' to run '{argv[0]}' in") from error
            if isinstance(error, FileNotFoundError):
                raise ProgramError(
                    f"the program '{argv[0]}' was not found",
                    help="install it, or add its folder to PATH",
                ) from error
            reason = getattr(error, "strerror", None) or error
            raise ProgramError(f"'{argv[0]}' could not be started: {reason}") from error


@dataclass(slots=True)
class _Stream:
    """The text of one stream so far, and its last line as long as that has no end."""

    name: str
    on_line: LineCallback | None
    text: list[str] = field(default_factory=list)
    rest: str = ""
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def take(self, chunk: bytes) -> None:
        """Adds what was read; an empty chunk is the end of the stream."""
        text = self.decoder.decode(chunk, final=not chunk)
        self.text.append(text)
        if self.on_line is None:
            return
        *lines, self.rest = (self.rest + text).split("\n")
        if not chunk and self.rest:
            lines.append(self.rest)
        for line in lines:
            self.on_line(self.name, line.removesuffix("\r"))


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long a program is waited for."""

    deadline: float | None
    cancellation: CancellationToken | None

    def check(self) -> float | None:
        """Seconds to wait until the next look, None for ever.

        Raises TimeoutError at the deadline, Interrupted when the cancellation is asked.
        """
        if self.cancellation is not None:
            self.cancellation.raise_if_cancelled()
        pause = None if self.cancellation is None else _SECONDS_BETWEEN_LOOKS
        if self.deadline is None:
            return pause
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining if pause is None else min(remaining, pause)


class _Output:
    """Both streams of a program, read together."""

    def __init__(self, child: subprocess.Popen[bytes], on_line: LineCallback | None) -> None:
        assert child.stdout is not None
        assert child.stderr is not None
        self._selector = selectors.DefaultSelector()
        self._streams = _Stream("stdout", on_line), _Stream("stderr", on_line)
        for pipe, stream in zip((child.stdout, child.stderr), self._streams, strict=True):
            self._selector.register(pipe, selectors.EVENT_READ, stream)

    @property
    def is_open(self) -> bool:
        """Whether there may be more to read."""
        return bool(self._selector.get_map())

    @property
    def texts(self) -> tuple[str, str]:
        """What was printed so far."""
        out, err = ("".join(stream.text) for stream in self._streams)
        return out, err

    def read(self, seconds: float | None) -> None:
        """Takes what there is; waits for something so long, None for ever."""
        for key, _ in self._selector.select(seconds):
            chunk = os.read(key.fd, 65536)
            key.data.take(chunk)
            if not chunk:
                self._selector.unregister(key.fileobj)

    def close(self) -> None:
        """Reads no more."""
        self._selector.close()


def _wait(child: subprocess.Popen[bytes], patience: _Patience) -> int:
    """Waits for the end of a program that has closed its streams."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return child.wait(patience.check())


def _end_group(child: subprocess.Popen[bytes], output: _Output) -> None:
    """Ends what is left of a program that was not waited for to its end; it may clear up first."""
    if child.returncode is not None:
        return
    with suppress(ProcessLookupError):
        try:
            os.killpg(child.pid, signal.SIGTERM)
            deadline = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < deadline:
                child.poll()
                output.read(_SECONDS_BETWEEN_LOOKS / 10)
                os.killpg(child.pid, 0)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
