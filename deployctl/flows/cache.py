"""A cache of flows that had to be imported, valid as long as the files they read are unchanged.

An entry is valid while the interpreter has the same packages and every user file that was read
during the import (imported or opened) has the same content. That is exact, whereas hashing all
files of a project would be slow and still miss what lies outside it. The environment is not
tracked, so flows whose files read it are not cached; a value from the network is kept until a file
changes. A damaged entry counts as missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from deployctl.core.json_values import Json, digest
from deployctl.flows.importer import Interpreter, LoadResult
from deployctl.flows.metadata import FlowMetadata

_FORMAT = 3
_READS_ENVIRONMENT = re.compile(rb"\b(environ|getenv|dotenv_values|BaseSettings)\b")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The folder for data that deployctl can recreate at any time."""
    home = environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "deployctl"


class FlowCache:
    """The entries of one interpreter in a folder, with one file per entrypoint."""

    def __init__(self, folder: Path, interpreter: Interpreter) -> None:
        self._folder = folder / "flows"
        self._key = [_FORMAT, interpreter.path, interpreter.identity]

    def get(self, entrypoint: str, base: Path) -> FlowMetadata | None:
        """Returns the metadata of an entrypoint; None if there is no valid entry."""
        try:
            entry = json.loads(self._file(entrypoint, base).read_text(encoding="utf-8"))
            metadata = FlowMetadata.from_json(entry["metadata"])
            unchanged = all(
                _inspect_file(name)[1] == checksum for name, checksum in entry["files"].items()
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return metadata if unchanged else None

    def put(self, entrypoint: str, base: Path, result: LoadResult) -> None:
        """Stores a flow that loaded without a failure; an unwritable folder is not an error."""
        if result.metadata is None or result.failure is not None:
            return
        try:
            hashes = {name: _inspect_file(name) for name in result.files}
            if any(reads_environment for reads_environment, _ in hashes.values()):
                return
            files = {name: checksum for name, (_, checksum) in hashes.items()}
            entry = {"metadata": asdict(result.metadata), "files": files}
            _write(self._file(entrypoint, base), json.dumps(entry))
        except OSError:
            return

    def _file(self, entrypoint: str, base: Path) -> Path:
        return self._folder / f"{digest([*self._key, entrypoint, str(base)])}.json"


def _inspect_file(name: str) -> tuple[bool, str]:
    """Returns whether a file reads the environment, and the hash of its content."""
    content = Path(name).read_bytes()
    return bool(_READS_ENVIRONMENT.search(content)), hashlib.sha256(content).hexdigest()


def _write(file: Path, text: Json) -> None:
    """Writes a file atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    Path(name).replace(file)
