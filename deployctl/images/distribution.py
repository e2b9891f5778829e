"""Images in registries: what lies under a name, and moving it from one name to another.

A name leads to a manifest, or to an index with a manifest per platform; a manifest lists the layers
and the configuration. All these are known by their digests, so what is in a registry already is
never sent to it again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import (
    DIGEST,
    INDEXES,
    MANIFESTS,
    BlobTransfer,
    Manifest,
    RegistryClient,
)
from deployctl.clients.registry.errors import Denied, RegistryError
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.images.credentials import CredentialStore
from deployctl.images.platform import Platform, best_match, platform_from_config
from deployctl.images.reference import DOCKER_HUB, LATEST, Reference

_HUB_API = f"registry-1.{DOCKER_HUB}"
_OF_A_PART = {"digest": str, "size": int, "mediaType": str}
_OF_A_CONFIG = {"config": dict, "rootfs": dict, "history": list}


class NotAnImage(RegistryError):
    """What lies under a name is not an image, or none of a kind that is still in use."""

    code = "DC718"


class NoSuchPlatform(RegistryError):
    """There is an image, and not for this platform."""

    code = "DC719"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image, as it lies in a registry."""

    digest: str
    size: int
    """In bytes, packed."""
    type: str
    """Its media type."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image for one platform, found in a registry."""

    reference: Reference
    """As it was asked for."""
    digest: str
    """Of the manifest for the platform."""
    type: str
    """The media type of the manifest."""
    manifest: Json
    config: Json
    """The image's configuration."""
    layers: tuple[Layer, ...]
    platform: Platform


class Registries:
    """The registries that a command speaks to, each once per login; for many threads."""

    def __init__(
        self,
        logins: CredentialStore,
        stop: CancellationToken | None = None,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    ) -> None:
        self._logins, self._stop, self._backoff = logins, stop or CancellationToken(), backoff
        self._open: dict[tuple[str, Credentials | None], RegistryClient] = {}
        self._lock = threading.Lock()

    def at(self, registry: str, repository: str = "") -> RegistryClient:
        """The registry of this name, as in a reference, logged in for a repository there.

        Raises LoginUnusable.
        """
        login = self._logins.of(registry, repository)
        with self._lock:
            if (registry, login) not in self._open:
                address = _HUB_API if registry == DOCKER_HUB else registry
                self._open[registry, login] = RegistryClient(
                    registry, login, address=address, stop=self._stop, backoff=self._backoff
                )
            return self._open[registry, login]

    def _of(self, reference: Reference) -> RegistryClient:
        return self.at(reference.registry, reference.repository)

    def close(self) -> None:
        """Closes every connection."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()

    # All these raise RegistryError, LoginUnusable and Interrupted.

    def resolve(self, reference: Reference, platform: Platform | None = None) -> ResolvedImage:
        """What is to be run on a platform (None: one like this machine) under a name.

        Raises NotInRegistry, NoImage, NoSuchPlatform.
        """
        wanted = platform or Platform.here()
        found = self._manifest(reference, reference.digest or reference.tag or LATEST)
        if found.type in INDEXES:
            _, offered = _parsed(found, reference)
            found = self._manifest(reference, _pick(reference, offered, wanted))
        if found.type not in MANIFESTS:
            raise NotAnImage(
                f"'{reference.familiar()}' cannot be run: it is of type '{found.type}'",
                help="push the image anew with a Docker of version 1.10 or later",
            )
        manifest, parts = _parsed(found, reference)
        config = self._config(reference, manifest)
        there = platform_from_config(config)
        if there is None or best_match(wanted, [there]) is None:
            raise _no_platform(reference, wanted, [there])
        return ResolvedImage(
            reference=reference,
            digest=found.digest,
            type=found.type,
            manifest=manifest,
            config=config,
            layers=tuple(Layer(each["digest"], each["size"], each["mediaType"]) for each in parts),
            platform=there,
        )

    def exists(self, reference: Reference) -> str | None:
        """The digest of what a name leads to, index or manifest; None if it leads nowhere."""
        registry = self._of(reference)
        named = reference.digest or reference.tag or LATEST
        return registry.head_manifest(reference.repository, named)

    def find(self, reference: Reference, on_line: Callable[[str], None]) -> str | None:
        """The same, None also where the registry does not say; that it refuses to is told.

        Docker Hub refuses to whoever asks for a name that nobody has.
        """
        try:
            return self.exists(reference)
        except Denied as error:
            if reference.registry != DOCKER_HUB:
                on_line(f"{error.message}, so nobody knows whether it is there")
        except RegistryError:
            pass
        return None

    def copy(self, layer: Layer, source: Reference, target: Reference) -> BlobTransfer:
        """Sees that a layer of `source` is in the repository of `target`.

        Within a registry it is mounted where that is allowed; else it is read and sent.
        """
        of, to = self._of(source), self._of(target)
        return to.push_blob(
            target.repository,
            layer.digest,
            layer.size,
            lambda start: of.pull_blob(source.repository, layer.digest, start),
            mount_from=source.repository if source.registry == target.registry else "",
        )

    def tag(self, source: Reference, tags: Iterable[str]) -> str:
        """Gives what a name leads to more tags in its repository, and gives its digest."""
        found = self._manifest(source, source.digest or source.tag or LATEST)
        registry = self._of(source)
        for tag in tags:
            registry.put_manifest(source.repository, tag, found.content, found.type)
        return found.digest

    def _manifest(self, reference: Reference, named: str) -> Manifest:
        return self._of(reference).manifest(reference.repository, named)

    def _config(self, reference: Reference, manifest: Json) -> Json:
        registry = self._of(reference)
        try:
            pieces = registry.pull_blob(reference.repository, str(manifest["config"]["digest"]))
            config = json.loads(b"".join(pieces))
            typed = all(isinstance(config.get(k) or t(), t) for k, t in _OF_A_CONFIG.items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _no_image(reference) from error
        if not typed or not all(isinstance(each, dict) for each in config.get("history") or ()):
            raise _no_image(reference)
        return config


def _parsed(found: Manifest, reference: Reference) -> tuple[Json, Sequence[Json]]:
    """A manifest and its layers, or an index and its manifests. Raises NoImage."""
    try:
        value = json.loads(found.content)
        parts = value["manifests" if found.type in INDEXES else "layers"]
        complete = all(map(_is_part, parts))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_image(reference) from error
    if not complete:
        raise _no_image(reference)
    return value, parts


def _is_part(value: Json) -> bool:
    """Whether this names a layer, or the manifest for a platform."""
    typed = all(isinstance(value.get(key), kind) for key, kind in _OF_A_PART.items())
    is_named = typed and DIGEST.fullmatch(value["digest"])
    return bool(is_named) and isinstance(value.get("platform") or {}, dict)


def _pick(reference: Reference, manifests: Sequence[Json], wanted: Platform) -> str:
    """The digest of the manifest in an index that fits best. Raises NoSuchPlatform."""
    offered = [platform_from_config(each.get("platform")) for each in manifests]
    place = best_match(wanted, offered)
    if place is None:
        raise _no_platform(reference, wanted, offered)
    digest: str = manifests[place]["digest"]
    return digest


def _no_platform(
    reference: Reference, wanted: Platform, offered: Iterable[Platform | None]
) -> NoSuchPlatform:
    there = ", ".join(dict.fromkeys(str(each) for each in offered if each)) or "no platform"
    return NoSuchPlatform(
        f"'{reference.familiar()}' is not there for {wanted}, but for {there}",
        help="name one of these as `platform` of the build step, or take another base image",
    )


def _no_image(reference: Reference) -> NotAnImage:
    return NotAnImage(f"what '{reference.familiar()}' leads to is not the description of an image")
