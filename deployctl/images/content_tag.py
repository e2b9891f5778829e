"""Content tag: a tag computed from the inputs of a build, before the image is built.

Equal inputs give equal tags. The inputs are all that a build can see: the files of the context, the
Dockerfile, the build arguments that it declares, target, platform, labels, the engine's options,
and the digests of the base images. The tag errs on the side of change: a comment in the Dockerfile
changes it, but a stale image is never used. What `RUN` downloads is not an input, as it is not for
the build cache of any engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from deployctl.core.json_values import Json, digest
from deployctl.images.context import ContextEntry
from deployctl.images.dockerfile.parser import Dockerfile
from deployctl.images.dockerfile.stages import (
    BaseImage,
    BuildParameters,
    base_images,
    declared_args,
    require_valid,
)
from deployctl.images.dockerfile.substitution import BadSubstitution
from deployctl.images.model import BuildSpec

ResolveDigest = Callable[[BaseImage], str | None]
"""Returns the digest of an image in its registry; None if it is unknown."""

_FORMAT = 1
"""Part of every tag; to be increased when builds of the same inputs give another image."""
PREFIX = "content-"
"""Prefix of all content tags."""
_LENGTH = 20
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")
_DEFAULT_FRONTENDS = ("docker/dockerfile", "docker.io/docker/dockerfile")
_UNDECLARED_ARGS = ("BUILDKIT_", "SOURCE_DATE_EPOCH")
"""Prefixes of build arguments that configure the builder and need no ARG."""
_WITHOUT_EFFECT = frozenset(
    {"pull", "rm", "forcerm", "quiet", "decode", "timeout", "cache_from", "cache_to", "progress"}
)
"""Options that change how an image is built, but not the image."""


def content_tag(
    spec: BuildSpec,
    dockerfile: Dockerfile,
    text: str,
    entries: Iterable[ContextEntry],
    resolve_digest: ResolveDigest,
    build_platform: str,
) -> str | None:
    """The tag `content-…` of an image, or None if its content cannot be known before the build.

    `text` is that of the Dockerfile, `entries` are the context, `build_platform` is the default
    for a spec without a platform. Raises BadDockerfile, UnreadableContext, and what
    `resolve_digest` raises.
    """
    if _always_builds(spec) or _downloads(dockerfile) or has_custom_frontend(dockerfile):
        return None
    parameters = BuildParameters(spec.build_args, spec.platform or build_platform, build_platform)
    try:
        bases = base_images(require_valid(dockerfile), spec.target, parameters)
    except BadSubstitution:  # the engine may support more syntax, or has a better error
        return None
    digests = {base: resolve_digest(base) for base in bases}
    if not all(digests.values()):
        return None
    declared = declared_args(dockerfile)
    options = {k: v for k, v in spec.options.items() if k not in _WITHOUT_EFFECT}
    content: Json = {
        "format": _FORMAT,
        "dockerfile": text,
        "files": _hash_entries(entries),
        "bases": [[base.image, base.platform, digests[base]] for base in bases],
        "arguments": {
            name: value
            for name, value in spec.build_args.items()
            if name in declared or name.startswith(_UNDECLARED_ARGS)
        },
        "target": spec.target,
        "platform": parameters.target_platform,
        "labels": dict(spec.labels),
        "options": options,
    }
    return PREFIX + digest(content)[:_LENGTH]


def _always_builds(spec: BuildSpec) -> bool:
    """Whether the cache is disabled, or the build has inputs outside the context."""
    options = spec.options
    no_cache = spec.ignore_cache or options.get("nocache") or options.get("cache") is False
    return bool(no_cache or options.get("build_contexts"))


def _hash_entries(entries: Iterable[ContextEntry]) -> str:
    """One SHA-256 of all entries; names are hashed as bytes, in whatever encoding they are."""
    sha256 = hashlib.sha256()
    for entry in entries:
        fields = (entry.path, entry.type, f"{entry.mode:o}", entry.target, entry.digest)
        sha256.update("\0".join(fields).encode(errors="surrogateescape") + b"\0")
    return sha256.hexdigest()


def _downloads(dockerfile: Dockerfile) -> bool:
    """Whether an ADD downloads something without a checksum."""
    return any(
        instruction.keyword == "ADD" and not instruction.flag("checksum") and is_remote(word)
        for stage in dockerfile.stages
        for instruction in stage.instructions
        for word in instruction.words[:-1]
    )


def is_remote(source: str) -> bool:
    """Whether a source of ADD is, or may be, a URL or Git repository."""
    return source.strip("\"'").startswith((*_REMOTE, "$"))


def has_custom_frontend(dockerfile: Dockerfile) -> bool:
    """Whether `# syntax=` names another frontend than Docker's, whose language is unknown."""
    name = dockerfile.directives.get("syntax", _DEFAULT_FRONTENDS[0]).partition(":")[0]
    return name not in _DEFAULT_FRONTENDS
