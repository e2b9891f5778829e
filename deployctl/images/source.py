"""What the build of a recipe starts from: its Dockerfile, read or made up, and its context."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployctl.core.errors import DeployctlError
from deployctl.images import auto
from deployctl.images.context import Entry, entries
from deployctl.images.dockerfile import Dockerfile, parse
from deployctl.images.ignore import Ignore
from deployctl.images.model import AUTO, Recipe


class NoDockerfile(DeployctlError):
    """The Dockerfile of a recipe is not there or cannot be read."""

    code = "DC705"


@dataclass(frozen=True, slots=True)
class Versions:
    """What a made-up Dockerfile is for."""

    prefect: str
    """`3.8.8`."""
    python: str
    """`3.11`."""


@dataclass(frozen=True, slots=True)
class Source:
    """All that a build sees of this machine."""

    text: str
    """The Dockerfile's."""
    dockerfile: Dockerfile
    entries: tuple[Entry, ...]
    """The context, without what .dockerignore leaves out."""


def read_source(recipe: Recipe, versions: Versions) -> Source:
    """Reads Dockerfile and context. Raises NoDockerfile, Unreadable and BadPattern."""
    ignore = Ignore.read(recipe.folder, recipe.dockerfile)
    text = _text(recipe, versions)
    name = recipe.dockerfile if recipe.dockerfile != AUTO else "the Dockerfile of 'auto'"
    return Source(text, parse(text, name), tuple(entries(recipe.folder, ignore)))


def _text(recipe: Recipe, versions: Versions) -> str:
    if recipe.dockerfile == AUTO:
        return auto.dockerfile(
            recipe.folder.resolve().name,
            prefect=versions.prefect,
            python=versions.python,
            requirements=(recipe.folder / auto.REQUIREMENTS).is_file(),
        )
    path: Path = recipe.folder / recipe.dockerfile
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NoDockerfile(
            f"there is no Dockerfile '{path}'",
            help="Name another with 'dockerfile:', or let one be made up with 'dockerfile: auto'.",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise NoDockerfile(f"the Dockerfile '{path}' cannot be read: {reason}") from error
