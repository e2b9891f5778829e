"""A tag that says what is in an image, before it is built: the same input, the same tag.

Everything counts that a build can see: the files of the context, the Dockerfile, the build
arguments that it declares, target, platform, labels, the engine's options, and the very base
images, by digest. Too much counts rather than too little: a comment in the Dockerfile makes a new
image, a stale one is never taken. What `RUN` fetches from elsewhere does not count, as it does not
for the cache of any engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from deployctl.core.json_values import Json, digest
from deployctl.images.context import Entry
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
"""The digest of an image at its registry; None where nobody knows it."""

_FORMAT = 1
"""Another number makes all keys new: to be raised whenever builds change what they make."""
PREFIX = "content-"
"""What all tags of contents begin with."""
_LETTERS = 20
_REMOTE = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")
_OUR_FRONTENDS = ("docker/dockerfile", "docker.io/docker/dockerfile")
_OF_THE_BUILDER = ("BUILDKIT_", "SOURCE_DATE_EPOCH")
"""Build arguments that are orders to the builder, which no ARG declares."""
_WITHOUT_EFFECT = frozenset(
    {"pull", "rm", "forcerm", "quiet", "decode", "timeout", "cache_from", "cache_to", "progress"}
)
"""Options that change how an image is built, and not the image."""


def content_tag(
    spec: BuildSpec,
    dockerfile: Dockerfile,
    text: str,
    entries: Iterable[Entry],
    digest_of: ResolveDigest,
    machine: str,
) -> str | None:
    """`content-…` for an image, or None where its content cannot be known.

    `text` is the Dockerfile's, `entries` are the context's, `machine` the platform that builds if
    the spec names none. Raises BadDockerfile and Unreadable, and what `digest_of` raises.
    """
    if _always_builds(spec) or _fetches(dockerfile) or has_custom_frontend(dockerfile):
        return None
    given = BuildParameters(spec.build_args, spec.platform or machine, machine)
    try:
        bases = base_images(require_valid(dockerfile), spec.target, given)
    except BadSubstitution:  # the engine may know more forms, or will say it better
        return None
    digests = {base: digest_of(base) for base in bases}
    if not all(digests.values()):
        return None
    arguments = declared_args(dockerfile)
    options = {k: v for k, v in spec.options.items() if k not in _WITHOUT_EFFECT}
    content: Json = {
        "format": _FORMAT,
        "dockerfile": text,
        "files": _files(entries),
        "bases": [[base.image, base.platform, digests[base]] for base in bases],
        "arguments": {
            name: value
            for name, value in spec.build_args.items()
            if name in arguments or name.startswith(_OF_THE_BUILDER)
        },
        "target": spec.target,
        "platform": given.platform,
        "labels": dict(spec.labels),
        "options": options,
    }
    return PREFIX + digest(content)[:_LETTERS]


def _always_builds(spec: BuildSpec) -> bool:
    """Whether a build is asked for in any case, or takes in what is not in the context."""
    options = spec.options
    no_cache = spec.ignore_cache or options.get("nocache") or options.get("cache") is False
    return bool(no_cache or options.get("build_contexts"))


def _files(entries: Iterable[Entry]) -> str:
    """One digest of all files; names are bytes, in whatever encoding."""
    hashed = hashlib.sha256()
    for entry in entries:
        fields = (entry.path, entry.kind, f"{entry.mode:o}", entry.target, entry.digest)
        hashed.update("\0".join(fields).encode(errors="surrogateescape") + b"\0")
    return hashed.hexdigest()


def _fetches(dockerfile: Dockerfile) -> bool:
    """Whether an ADD takes something from the network that no checksum is given for."""
    return any(
        found.keyword == "ADD" and not found.flag("checksum") and is_remote(word)
        for stage in dockerfile.stages
        for found in stage.instructions
        for word in found.words[:-1]
    )


def is_remote(source: str) -> bool:
    """Whether a source of ADD is fetched from somewhere."""
    return source.strip("\"'").startswith((*_REMOTE, "$"))


def has_custom_frontend(dockerfile: Dockerfile) -> bool:
    """Whether the file is in a language of somebody else's, by its `# syntax=` directive."""
    name = dockerfile.directives.get("syntax", _OUR_FRONTENDS[0]).partition(":")[0]
    return name not in _OUR_FRONTENDS
