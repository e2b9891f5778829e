"""Image references, parsed by Docker's rules.

`python` means `docker.io/library/python:latest`, and `team/app` is on Docker Hub too. In
`team.example/app` the first component is a registry: it contains a dot, a colon or a capital
letter, or is `localhost`. References that Docker rejects are rejected before anything is built.
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
_MAX_REPOSITORY_LENGTH = 255
_SYNTAX = "Use the form [registry/]name[:tag][@sha256:…]."


class BadReference(DeployctlError):
    """Invalid image reference."""

    code = "DC700"


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A normalized image reference; only the tag may still have to be defaulted."""

    registry: str
    """Host and port: `docker.io`, `localhost:5000`."""
    repository: str
    """`library/python`, `team/app`."""
    tag: str | None = None
    digest: str | None = None
    """`sha256:…`"""

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Parses `[registry/]repository[:tag][@digest]`. Raises BadReference."""
        rest, at, digest = text.partition("@")
        name, colon, tag = rest.rpartition(":")
        if not colon or "/" in tag:  # no colon, or the colon of a port
            name, colon, tag = rest, "", ""
        registry, repository = _split(name)
        problem = (
            (_IMAGE_ID.fullmatch(text) and "this is an image id")
            or _name_problem(registry, repository)
            or (colon and not _TAG.fullmatch(tag) and f"invalid tag '{tag}'")
            or (at and not _DIGEST.fullmatch(digest) and f"invalid digest '{digest}'")
        )
        if problem:
            raise BadReference(f"invalid image reference '{text}': {problem}", help=_SYNTAX)
        return cls(registry, repository, tag or None, digest or None)

    @property
    def name(self) -> str:
        """`registry/repository`."""
        return f"{self.registry}/{self.repository}"

    def familiar(self) -> str:
        """The short form that Docker prints: without `docker.io/` and `library/`."""
        if self.registry != DOCKER_HUB:
            return str(self)
        name = self.repository.removeprefix("library/")
        return (self.repository if "/" in name else name) + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def _split(name: str) -> tuple[str, str]:
    """Registry and repository of a name without tag and digest."""
    first, slash, rest = name.partition("/")
    is_registry = any(char in ".:" for char in first) or first.lower() != first
    if not slash or not (is_registry or first == "localhost"):
        first, rest = DOCKER_HUB, name
    if first == "index.docker.io":
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _name_problem(registry: str, repository: str) -> str:
    """Why this is not a valid name; "" if it is one."""
    short = repository.removeprefix("library/")
    if not short:
        return "the name is empty"
    if repository != repository.lower():
        return "the repository must be in lower case"
    if not _REGISTRY.fullmatch(registry):
        return f"invalid registry '{registry}'"
    if not _REPOSITORY.fullmatch(repository):
        return f"invalid repository '{short}'"
    if len(repository) > _MAX_REPOSITORY_LENGTH:
        return f"the repository has more than {_MAX_REPOSITORY_LENGTH} characters"
    return ""
