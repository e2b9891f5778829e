"""Classifies the errors of engine builds and pushes, with a help text for each cause.

Engines report free text that comes from the registry or the network. Equal causes have the same
classes, and explanation pages, as errors of deployctl's own registry client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from deployctl.clients.registry.errors import (
    LOGIN_HELP,
    TOO_LARGE_HELP,
    Denied,
    NotInRegistry,
    RateLimited,
    RegistryError,
    RegistryUnreachable,
    TooLarge,
)
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact
from deployctl.images.reference import ImageReference


class BuildFailed(DeployctlError):
    """The engine failed to build an image."""

    code = "DC730"


class NeedsBuildKit(BuildFailed):
    """The Dockerfile uses features of BuildKit, and the classic builder was used."""

    code = "DC731"


class BadOption(DeployctlError):
    """A build step has an option that the builder does not support."""

    code = "DC732"


class PushFailed(RegistryError):
    """The engine failed to push an image, for an unclassified reason."""

    code = "DC733"


class NoBuildx(DeployctlError):
    """The docker command or its buildx plugin is missing."""

    code = "DC734"


class NoSuchImage(DeployctlError):
    """The engine does not have the image that is to be pushed."""

    code = "DC735"


_CAUSES: Sequence[tuple[str, type[RegistryError]]] = (
    (r"too large|\b413\b|quota", TooLarge),
    (
        r"denied|unauthorized|authentication required|no basic auth|insufficient_scope|40[13] ",
        Denied,
    ),
    (r"toomanyrequests|\b429\b|rate limit", RateLimited),
    (
        r"dial tcp|write tcp|read tcp|no such host|timeout|HTTP response to HTTPS|x509|tls:|: EOF",
        RegistryUnreachable,
    ),
    (r"not found|manifest unknown", NotInRegistry),
)
"""Pattern of each cause in the engine's message, the most specific first."""
_PUSH_HELP: Mapping[type[RegistryError], str] = {
    TooLarge: TOO_LARGE_HELP,
    Denied: LOGIN_HELP,
    RateLimited: "Try again later, or log in with `docker login {host}`.",
    RegistryUnreachable: "Check that the engine's machine reaches '{host}' and trusts its"
    " certificate.",
    NotInRegistry: "Create the repository first, if the registry requires that.",
}
_BUILD_HELP: Mapping[type[RegistryError], str] = {
    Denied: "Log in to the registry of the base image with `docker login`.",
    RateLimited: "Try again later, or log in with `docker login`.",
    RegistryUnreachable: "Check that the engine's machine reaches that registry.",
    NotInRegistry: "Check the name and tag of the base image.",
}
_NOT_IN_CONTEXT = re.compile(
    r"not found in build context|failed to (?:compute|calculate) (?:cache key|checksum)|copier: "
)
_COMMAND_FAILED = re.compile(r"returned a non-zero code|did not complete successfully|exit status")
_BUILDKIT = re.compile(r"requires? BuildKit|unknown flag: (?:mount|chmod|link|checksum|exclude)")
_SHOWN_LINES = 10


def build_failed(
    name: str, detail: str, position: str, output: Sequence[str], *, buildx: bool = False
) -> BuildFailed:
    """The error of a failed build.

    `position`: that of the instruction, as `FILE:LINE (INSTRUCTION)`, "" if unknown; `output`: the
    printed lines.
    """
    message = (
        f"the build of '{name}' failed{position and f' at {position}'}: {redact(detail).strip()}"
    )
    if _BUILDKIT.search(detail) and not buildx:
        return NeedsBuildKit(message, help="Set `build_backend: buildx` in the build step.")
    last = [redact(line) for line in output if line.strip()][-_SHOWN_LINES:]
    shown = ["the last lines of its output:", *(f"  {line}" for line in last)] if last else []
    return BuildFailed("\n".join([message, *shown]), help=_build_help(detail))


def _build_help(detail: str) -> str | None:
    if _COMMAND_FAILED.search(detail):
        return None
    if _NOT_IN_CONTEXT.search(detail):
        return "Check the path in the COPY, and whether .dockerignore excludes it."
    return _BUILD_HELP.get(_classify(detail))


def push_failed(image: ImageReference, detail: str) -> RegistryError:
    """The error of a failed push."""
    error = _classify(detail)
    message = f"the engine cannot push '{image.familiar()}': {redact(detail).strip()}"
    help_ = _PUSH_HELP.get(error)
    return error(message, help=help_ and help_.format(host=image.registry))


def _classify(detail: str) -> type[RegistryError]:
    for pattern, error in _CAUSES:
        if re.search(pattern, detail, re.IGNORECASE):
            return error
    return PushFailed
