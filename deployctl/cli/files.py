"""Files that commands write for users to keep."""

from __future__ import annotations

from pathlib import Path

from deployctl.core.errors import UsageError


def check_absent(path: Path, help_: str | None = None) -> None:
    """Raises UsageError if a file that must be new exists."""
    if path.exists():
        raise UsageError(f"'{path}' exists already", help=help_)


def write_file(path: Path, text: str, *, replace: bool = False) -> None:
    """Writes a file that is new, unless it may `replace` one. Raises UsageError."""
    try:
        with path.open("w" if replace else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"'{path}' exists already") from None
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror}") from error
