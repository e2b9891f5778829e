"""Inputs of one build: the text of the Dockerfile and the files of the build context.

The Dockerfile may be outside the context or generated (`dockerfile: auto`); nothing is ever written
into the context. Engines expect the Dockerfile in the context, so the archive for them contains it
under a unique name, which a last line of `.dockerignore` excludes from the image. The docker
command does the same.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from deployctl.images.context import ContextEntry, EntryType, walk_context, with_engine_files
from deployctl.images.dockerfile import auto
from deployctl.images.dockerfile.parser import Dockerfile, parse
from deployctl.images.dockerfile.stages import BadDockerfile
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.model import AUTO, BuildSpec
from deployctl.images.tar import write_context

_IGNORE = ".dockerignore"


@dataclass(frozen=True, slots=True)
class ProjectVersions:
    """Versions that select the base image of `dockerfile: auto`."""

    prefect: str
    """Like `3.8.8`."""
    python: str
    """Like `3.11`."""


@dataclass(frozen=True)
class BuildSource:
    """The Dockerfile and context of one build."""

    root: Path
    """Directory of the context."""
    text: str
    """Text of the Dockerfile."""
    path: str | None
    """Path of the Dockerfile in the context; None if it is outside, a link, or generated."""
    name: str
    """Name of the Dockerfile in messages."""
    entries: Sequence[ContextEntry]
    """Files of the context."""

    @cached_property
    def dockerfile(self) -> Dockerfile:
        """The parsed Dockerfile; syntax errors are in its `problems`."""
        return parse(self.text, self.name)

    def archive(self, out: BinaryIO) -> str:
        """Writes the tar archive that engines take as context, and returns the Dockerfile's name
        in it. Raises UnreadableContext."""
        if self.path is not None:
            write_context(with_engine_files(self.entries, self.root, self.path, _IGNORE), out)
            return self.path
        name = f".dockerfile.{hashlib.sha256(self.text.encode()).hexdigest()[:20]}"
        with tempfile.TemporaryDirectory() as temporary:
            write_context(self._with_dockerfile(name, Path(temporary)), out)
        return name

    def _with_dockerfile(self, name: str, temporary: Path) -> list[ContextEntry]:
        """The entries with the Dockerfile as `name`, and a `.dockerignore` that excludes it."""
        entries = {entry.path: entry for entry in self.entries}
        ignore = entries.get(_IGNORE)
        lines = f"{name}\n"
        if ignore is None:
            lines = f"{_IGNORE}\n{lines}"
        else:
            lines = f"{ignore.local_path.read_bytes().decode(errors='surrogateescape')}\n{lines}"
        for path, text in ((name, self.text), (_IGNORE, lines)):
            local = temporary / path
            local.write_bytes(text.encode(errors="surrogateescape"))
            entry = entries.get(path) or ContextEntry(path, EntryType.FILE, 0o644, 0, "", local)
            entries[path] = replace(
                entry,
                type=EntryType.FILE,
                size=local.stat().st_size,
                target="",
                local_path=local,
                mtime_ns=0,
            )
        return sorted(entries.values(), key=lambda entry: entry.path.split("/"))


def read_source(spec: BuildSpec, versions: Callable[[], ProjectVersions]) -> BuildSource:
    """Reads the inputs of a build; `versions` is called only for `dockerfile: auto`.

    Raises BadDockerfile if there is no Dockerfile, BadPattern and UnreadableContext.
    """
    root = spec.context
    if not root.is_dir():
        raise BadDockerfile(f"the build context '{root}' of '{spec.name}' is not a directory")
    if spec.dockerfile == AUTO:
        project = versions()
        text = auto.dockerfile(
            spec.home or auto.image_directories(root, root)[0],
            prefect=project.prefect,
            python=project.python,
            requirements=(root / auto.REQUIREMENTS).is_file(),
        )
        entries = walk_context(root, DockerIgnore.read(root))
        return BuildSource(root, text, None, "the Dockerfile of `auto`", entries)
    text = _read_dockerfile(spec)
    path = _path_in_context(root, spec.dockerfile)
    entries = walk_context(root, DockerIgnore.read(root, spec.dockerfile))
    return BuildSource(root, text, path, spec.dockerfile, entries)


def _read_dockerfile(spec: BuildSpec) -> str:
    path = spec.context / spec.dockerfile
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise BadDockerfile(
            f"cannot read the Dockerfile '{path}': {error.strerror}",
            help="Set `dockerfile` of the step to its path, or to `auto` to have one generated.",
        ) from error
    except UnicodeDecodeError as error:
        raise BadDockerfile(f"the Dockerfile '{path}' is not valid UTF-8") from error


def _path_in_context(root: Path, dockerfile: str) -> str | None:
    """Path at which an engine finds the Dockerfile in the context.

    None if it is outside or a link, or if it has a `.dockerignore` of its own: engines read the
    common one too, which has other patterns.
    """
    path = os.path.relpath(root / dockerfile, root)
    plain = not path.startswith("..") and not (root / path).is_symlink()
    own_patterns = (root / f"{dockerfile}{_IGNORE}").exists()
    return Path(path).as_posix() if plain and not own_patterns else None
