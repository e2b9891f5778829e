"""The names of images, read as Docker reads them.

`python` means `docker.io/library/python:latest`, and `team/app` lies on Docker Hub too, while
`team.example/app` names a registry: the first part is one if it has a dot, a colon or a capital
letter, or is `localhost`. What Docker refuses is refused here, before anything was built.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployctl.core.errors import DeployctlError

DOCKER_HUB = "docker.io"
LATEST = "latest"

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 255


class BadReference(DeployctlError):
    """A text that cannot be the name of an image."""

    code = "DC700"


@dataclass(frozen=True, slots=True)
class Reference:
    """The whole name of an image, with nothing left to be assumed but the tag."""

    registry: str
    """Host and port: `docker.io`, `localhost:5000`."""
    repository: str
    """`library/python`, `team/app`."""
    tag: str | None = None
    digest: str | None = None
    """`sha256:…`"""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Reads `[registry/]repository[:tag][@digest]`. Raises BadReference."""
        rest, at, digest = text.partition("@")
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:  # the colon is that of a port, or there is none
            name, colon, tag = rest, "", ""
        registry, repository = _split(name)
        problem = (
            (_IMAGE_ID.fullmatch(text) and "this is the id of an image")
            or _bad_name(registry, repository)
            or (colon and not _TAG.fullmatch(tag) and f"'{tag}' cannot be a tag")
            or (at and not _DIGEST.fullmatch(digest) and f"'{digest}' cannot be a digest")
        )
        if problem:
            raise BadReference(f"'{text}' is not the name of an image: {problem}", help=_SHAPE)
        return cls(registry, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    def familiar(self) -> str:
        """As people write it: without Docker Hub's host and its `library/`."""
        if self.registry != DOCKER_HUB:
            return str(self)
        name = self.repository.removeprefix("library/")
        return (self.repository if "/" in name else name) + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


_SHAPE = "it has the form [registry/]name[:tag][@sha256:…]"


def _split(name: str) -> tuple[str, str]:
    """The registry and the repository that a name without tag and digest stands for."""
    first, slash, rest = name.partition("/")
    is_registry = any(char in ".:" for char in first) or first.lower() != first
    if not slash or not (is_registry or first == "localhost"):
        first, rest = DOCKER_HUB, name
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _bad_name(registry: str, repository: str) -> str:
    """What keeps this from being a name; "" if nothing does."""
    short = repository.removeprefix("library/")
    if not short:
        return "it is empty"
    if repository != repository.lower():
        return "the repository must be in lower case"
    if not _REGISTRY.fullmatch(registry):
        return f"'{registry}' cannot be a registry"
    if not _REPOSITORY.fullmatch(repository):
        return f"'{short}' cannot be a repository"
    if len(repository) > _LONGEST_NAME:
        return f"the repository has more than {_LONGEST_NAME} characters"
    return ""
