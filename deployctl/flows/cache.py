"""Remembers what loading a flow told, for as long as the files that it read stay the same.

An entry is valid while the interpreter has the same packages and each of the user's files that
were read then, imported or only opened, has the same content. That is exact where hashing every
file of a project would be slow and still miss what lies outside it. It cannot see the environment,
so flows whose files read that are not remembered; a value from the network is kept until a file
changes. A damaged entry is none.
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

_FORMAT = 1
_READS_ENVIRONMENT = re.compile(rb"\b(environ|getenv|dotenv_values|BaseSettings)\b")


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where deployctl keeps what it can always find out again."""
    home = environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "deployctl"


class FlowCache:
    """Entries of one interpreter in a folder, a file for each entrypoint."""

    def __init__(self, folder: Path, interpreter: Interpreter) -> None:
        self._folder = folder / "flows"
        self._owner = [_FORMAT, interpreter.path, interpreter.identity]

    def get(self, entrypoint: str, base: Path) -> FlowMetadata | None:
        """What is remembered of an entrypoint; None if nothing is or its files have changed."""
        try:
            entry = json.loads(self._file(entrypoint, base).read_text(encoding="utf-8"))
            facts = FlowMetadata(**entry["facts"])
            unchanged = all(_hash(name)[1] == known for name, known in entry["files"].items())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return facts if unchanged else None

    def put(self, entrypoint: str, base: Path, loaded: LoadResult) -> None:
        """Remembers a flow that loaded without trouble; a folder without room is no error."""
        if loaded.facts is None or loaded.failure is not None:
            return
        try:
            hashes = {name: _hash(name) for name in loaded.files}
            if any(reads_environment for reads_environment, _ in hashes.values()):
                return
            files = {name: known for name, (_, known) in hashes.items()}
            entry = {"facts": asdict(loaded.facts), "files": files}
            _write(self._file(entrypoint, base), json.dumps(entry))
        except OSError:
            return

    def _file(self, entrypoint: str, base: Path) -> Path:
        return self._folder / f"{digest([*self._owner, entrypoint, str(base)])}.json"


def _hash(name: str) -> tuple[bool, str]:
    """Whether a file reads the environment, and the hash of its content."""
    content = Path(name).read_bytes()
    return bool(_READS_ENVIRONMENT.search(content)), hashlib.sha256(content).hexdigest()


def _write(file: Path, text: Json) -> None:
    """Writes a file so that nobody ever sees a part of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    Path(name).replace(file)
