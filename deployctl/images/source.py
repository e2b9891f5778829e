"""What a spec's build is given: the Dockerfile's text, and the files of the folder that it sees.

The text can lie outside the folder, or be made up (`dockerfile: auto`); nothing is ever written
into the folder. An engine wants to find it in the context all the same: there it has a name of its
own, and a last line of `.dockerignore` keeps it out of the image, as the docker command does it.
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

from deployctl.images.context import Entry, EntryType, walk_context, with_engine_files, write_tar
from deployctl.images.dockerfile import auto
from deployctl.images.dockerfile.parser import Dockerfile, parse
from deployctl.images.dockerfile.stages import BadDockerfile
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.model import AUTO, BuildSpec

_IGNORE = ".dockerignore"


@dataclass(frozen=True, slots=True)
class ProjectVersions:
    """What the project runs with; the base image of `dockerfile: auto` is chosen by them."""

    prefect: str
    """Like `3.8.8`."""
    python: str
    """Like `3.11`."""


@dataclass(frozen=True)
class BuildSource:
    """The input of one build."""

    folder: Path
    text: str
    """The Dockerfile's."""
    path: str | None
    """Where the Dockerfile lies in the folder; None if it does not, or not as a plain file."""
    name: str
    """What messages call the Dockerfile."""
    entries: Sequence[Entry]
    """The files that the build sees."""

    @cached_property
    def dockerfile(self) -> Dockerfile:
        """The Dockerfile, read; what is wrong with it stands in its `problems`."""
        return parse(self.text, self.name)

    def archive(self, out: BinaryIO) -> str:
        """Writes the context as engines want it, a tar archive, and gives the Dockerfile's name
        in it. Raises Unreadable."""
        if self.path is not None:
            write_tar(with_engine_files(self.entries, self.folder, self.path, _IGNORE), out)
            return self.path
        name = f".dockerfile.{hashlib.sha256(self.text.encode()).hexdigest()[:20]}"
        with tempfile.TemporaryDirectory() as folder:
            write_tar(self._with_dockerfile(name, Path(folder)), out)
        return name

    def _with_dockerfile(self, name: str, folder: Path) -> list[Entry]:
        """All entries, and the Dockerfile under a name that is kept out of the image."""
        seen = {entry.path: entry for entry in self.entries}
        ignore = seen.get(_IGNORE)
        lines = f"{name}\n"
        if ignore is None:
            lines = f"{_IGNORE}\n{lines}"
        else:
            lines = f"{ignore.source.read_bytes().decode(errors='surrogateescape')}\n{lines}"
        for path, text in ((name, self.text), (_IGNORE, lines)):
            source = folder / path
            source.write_bytes(text.encode(errors="surrogateescape"))
            found = seen.get(path) or Entry(path, EntryType.FILE, 0o644, 0, "", source)
            size = source.stat().st_size
            seen[path] = replace(
                found, kind=EntryType.FILE, size=size, target="", source=source, changed=0
            )
        return sorted(seen.values(), key=lambda entry: entry.path.split("/"))


def read_source(spec: BuildSpec, versions: Callable[[], ProjectVersions]) -> BuildSource:
    """Finds out what a spec's build is given; `versions` is asked only for `dockerfile: auto`.

    Raises BadDockerfile if there is no Dockerfile, BadPattern and Unreadable.
    """
    folder = spec.context
    if not folder.is_dir():
        raise BadDockerfile(f"there is no folder '{folder}' to build '{spec.name}' from")
    if spec.dockerfile == AUTO:
        project = versions()
        text = auto.dockerfile(
            folder.resolve().name,
            prefect=project.prefect,
            python=project.python,
            requirements=(folder / auto.REQUIREMENTS).is_file(),
        )
        seen = walk_context(folder, DockerIgnore.read(folder))
        return BuildSource(folder, text, None, "the Dockerfile of `auto`", seen)
    text = _text(spec)
    path = _path_inside(folder, spec.dockerfile)
    seen = walk_context(folder, DockerIgnore.read(folder, spec.dockerfile))
    return BuildSource(folder, text, path, spec.dockerfile, seen)


def _text(spec: BuildSpec) -> str:
    path = spec.context / spec.dockerfile
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise BadDockerfile(
            f"the Dockerfile '{path}' cannot be read: {error.strerror}",
            help="name it as `dockerfile` of the step, or write `auto` to have one made",
        ) from error
    except UnicodeDecodeError as error:
        raise BadDockerfile(f"the Dockerfile '{path}' is not a text in UTF-8") from error


def _path_inside(folder: Path, dockerfile: str) -> str | None:
    """Where an engine finds the Dockerfile in the context; None where it would not, or where
    other patterns than those of `.dockerignore`, which it reads too, are for this Dockerfile."""
    path = os.path.relpath(folder / dockerfile, folder)
    plain = not path.startswith("..") and not (folder / path).is_symlink()
    own_patterns = (folder / f"{dockerfile}{_IGNORE}").exists()
    return Path(path).as_posix() if plain and not own_patterns else None
