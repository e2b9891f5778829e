"""What engines complain of when they build and push, as errors of ours with the way out.

Engines say it all in free text, which is that of the registry or of the network below them; the
same causes have the same classes, and pages, as where deployctl speaks to a registry itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from deployctl.clients.registry.errors import (
    Denied,
    NotInRegistry,
    RateLimited,
    RegistryError,
    RegistryUnreachable,
    TooLarge,
)
from deployctl.core.errors import DeployctlError
from deployctl.core.redact import redact
from deployctl.images.reference import Reference


class BuildFailed(DeployctlError):
    """An engine could not build an image."""

    code = "DC730"


class NeedsBuildKit(BuildFailed):
    """The Dockerfile uses what only BuildKit can do, and the engine's own builder built."""

    code = "DC731"


class BadOption(DeployctlError):
    """A build step has an option that the engine's builder does not know."""

    code = "DC732"


class PushFailed(RegistryError):
    """An engine could not push an image, for a reason that only its own words tell."""

    code = "DC733"


class NoBuildx(DeployctlError):
    """The docker command, or its plugin buildx, is not there."""

    code = "DC734"


class NoSuchImage(DeployctlError):
    """An image that is to be pushed is not in the engine."""

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
"""What is in the words of each cause, the clearest first."""
_PUSH_HINTS: Mapping[type[RegistryError], str] = {
    TooLarge: "make the image smaller, or ask who runs the registry",
    Denied: "log in with `docker login {registry}`, or give the push step `credentials`",
    RateLimited: "try again later, or log in with `docker login {registry}`",
    RegistryUnreachable: "see that the engine, where it runs, reaches '{registry}' and trusts it",
    NotInRegistry: "some registries want a repository to be made before the first push",
}
_BUILD_HINTS: Mapping[type[RegistryError], str] = {
    Denied: "log in to the registry of the base image with `docker login`",
    RateLimited: "try again later, or log in with `docker login`",
    RegistryUnreachable: "see that the engine, where it runs, reaches that registry",
    NotInRegistry: "look for a misspelt name or tag of the base image",
}
_NOT_IN_CONTEXT = re.compile(
    r"not found in build context|failed to (?:compute|calculate) (?:cache key|checksum)|copier: "
)
_BY_COMMAND = re.compile(r"returned a non-zero code|did not complete successfully|exit status")
_BUILDKIT = re.compile(r"requires? BuildKit|unknown flag: (?:mount|chmod|link|checksum|exclude)")
_SHOWN_LINES = 10


def build_failed(
    name: str, detail: str, place: str, output: Sequence[str], *, buildx: bool = False
) -> BuildFailed:
    """The error of a build that an engine gave up.

    `place`: the line of the Dockerfile, as `FILE:LINE (INSTRUCTION)`, "" where nobody knows it;
    `output`: the lines that were printed.
    """
    message = f"the build of '{name}' failed{place and f' at {place}'}: {redact(detail).strip()}"
    if _BUILDKIT.search(detail) and not buildx:
        return NeedsBuildKit(message, help="say `build_backend: buildx` in the build step")
    last = [redact(line) for line in output if line.strip()][-_SHOWN_LINES:]
    said = ["the last lines of its output:", *(f"  {line}" for line in last)] if last else []
    return BuildFailed("\n".join([message, *said]), help=_build_hint(detail))


def _build_hint(detail: str) -> str | None:
    if _BY_COMMAND.search(detail):
        return None
    if _NOT_IN_CONTEXT.search(detail):
        return "look for a misspelt path in the COPY, or a line of .dockerignore that leaves it out"
    return _BUILD_HINTS.get(_cause(detail))


def push_failed(image: Reference, detail: str) -> RegistryError:
    """The error of a push that an engine gave up."""
    kind = _cause(detail)
    message = f"the engine cannot push '{image.familiar()}': {redact(detail).strip()}"
    hint = _PUSH_HINTS.get(kind)
    return kind(message, help=hint and hint.replace("{registry}", image.registry))


def _cause(detail: str) -> type[RegistryError]:
    for pattern, kind in _CAUSES:
        if re.search(pattern, detail, re.IGNORECASE):
            return kind
    return PushFailed
