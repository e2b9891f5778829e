"""Images in registries: resolve references, find tags, copy layers, add tags.

A reference leads to a manifest, or to an index with one manifest per platform; a manifest lists the
layers and the image config. All of them are addressed by digest, so content that a registry has is
never sent to it again.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.client import (
    DIGEST,
    INDEXES,
    MANIFESTS,
    BlobTransfer,
    ImageManifest,
    RegistryClient,
)
from deployctl.clients.registry.errors import Denied, RegistryError
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.images.credentials import CredentialStore
from deployctl.images.model import BuildSpec, Image
from deployctl.images.platform import Platform, best_match, platform_from_config
from deployctl.images.reference import DOCKER_HUB, LATEST, ImageReference

_HUB_API = f"registry-1.{DOCKER_HUB}"
_DESCRIPTOR_FIELDS = {"digest": str, "size": int, "mediaType": str}
_CONFIG_FIELDS = {"config": dict, "rootfs": dict, "history": list}


class NotAnImage(RegistryError):
    """A reference leads to something that is not an image, or to an obsolete kind of image."""

    code = "DC718"


class NoSuchPlatform(RegistryError):
    """The image exists, but not for this platform."""

    code = "DC719"


@dataclass(frozen=True, slots=True)
class Layer:
    """Descriptor of a layer in a registry."""

    digest: str
    size: int
    """Compressed size in bytes."""
    type: str
    """Media type."""


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """An image for one platform in a registry."""

    reference: ImageReference
    """As requested."""
    digest: str
    """Digest of the manifest for the platform."""
    type: str
    """Media type of the manifest."""
    manifest: Json
    config: Json
    """The image config."""
    layers: tuple[Layer, ...]
    platform: Platform


class Registries:
    """Registry clients by registry and credentials. Thread-safe; a context manager.

    All methods raise RegistryError, CredentialsError and Interrupted.
    """

    def __init__(
        self,
        credentials: CredentialStore,
        cancellation: CancellationToken | None = None,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - it is frozen
    ) -> None:
        """Opens no connection yet."""
        self._credentials, self._cancellation = credentials, cancellation or CancellationToken()
        self._backoff = backoff
        self._clients: dict[tuple[str, Credentials | None], RegistryClient] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Registries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        with self._lock:
            while self._clients:
                self._clients.popitem()[1].close()

    def client(self, registry: str, repository: str = "") -> RegistryClient:
        """The client of a registry, with the credentials for a repository in it."""
        credentials = self._credentials.get(registry, repository)
        with self._lock:
            if (registry, credentials) not in self._clients:
                address = _HUB_API if registry == DOCKER_HUB else registry
                self._clients[registry, credentials] = RegistryClient(
                    registry,
                    credentials,
                    address=address,
                    cancellation=self._cancellation,
                    backoff=self._backoff,
                )
            return self._clients[registry, credentials]

    def resolve(self, reference: ImageReference, platform: Platform | None = None) -> ResolvedImage:
        """The image of a reference for a platform; None is the platform of this machine.

        Raises NotInRegistry, NotAnImage, NoSuchPlatform.
        """
        desired = platform or Platform.here()
        found = self._manifest(reference, _tag_or_digest(reference))
        if found.type in INDEXES:
            _, offered = _parse(found, reference)
            found = self._manifest(reference, _select(reference, offered, desired))
        if found.type not in MANIFESTS:
            raise NotAnImage(
                f"'{reference.familiar()}' cannot be run: its media type is '{found.type}'",
                help="Push the image again with Docker 1.10 or later.",
            )
        manifest, layers = _parse(found, reference)
        config = self._config(reference, manifest)
        actual = platform_from_config(config)
        if actual is None or best_match(desired, [actual]) is None:
            raise _no_such_platform(reference, desired, [actual])
        return ResolvedImage(
            reference=reference,
            digest=found.digest,
            type=found.type,
            manifest=manifest,
            config=config,
            layers=tuple(Layer(each["digest"], each["size"], each["mediaType"]) for each in layers),
            platform=actual,
        )

    def head(self, reference: ImageReference) -> str | None:
        """The digest of a reference's index or manifest; None if there is none."""
        client = self._client_of(reference)
        return client.head_manifest(reference.repository, _tag_or_digest(reference))

    def check_push(self, reference: ImageReference) -> None:
        """Raises Denied if the repository of a reference may not be pushed to."""
        self._client_of(reference).check_push(reference.repository)

    def find(
        self, spec: BuildSpec, content_tag: str, on_line: Callable[[str], None]
    ) -> Image | None:
        """The image of a spec that is in its registry under its content tag.

        None also if the registry does not say; `on_line` receives a note if it denies access.
        Docker Hub denies access to every name that does not exist.
        """
        reference = replace(ImageReference.parse(spec.name), tag=content_tag)
        try:
            digest = self.head(reference)
        except Denied as error:
            digest = None
            if reference.registry != DOCKER_HUB:
                on_line(f"{error.message}; assuming that the image does not exist")
        except RegistryError:
            digest = None
        if digest is None:
            return None
        return Image(spec.name, spec.tag or content_tag, digest, built=False)

    def copy(self, layer: Layer, source: ImageReference, target: ImageReference) -> BlobTransfer:
        """Copies a layer into the repository of `target`, unless it is there.

        It is mounted if both are in one registry that allows it, else downloaded and uploaded.
        """
        origin = self._client_of(source)
        return self._client_of(target).push_blob(
            target.repository,
            layer.digest,
            layer.size,
            lambda start: origin.pull_blob(source.repository, layer.digest, start),
            mount_from=source.repository if source.registry == target.registry else "",
        )

    def tag(self, source: ImageReference, tags: Iterable[str]) -> str:
        """Adds tags to an image in its repository; returns its digest."""
        found = self._manifest(source, _tag_or_digest(source))
        client = self._client_of(source)
        for tag in tags:
            client.put_manifest(source.repository, tag, found.content, found.type)
        return found.digest

    def _client_of(self, reference: ImageReference) -> RegistryClient:
        return self.client(reference.registry, reference.repository)

    def _manifest(self, reference: ImageReference, tag_or_digest: str) -> ImageManifest:
        return self._client_of(reference).manifest(reference.repository, tag_or_digest)

    def _config(self, reference: ImageReference, manifest: Json) -> Json:
        client = self._client_of(reference)
        try:
            pieces = client.pull_blob(reference.repository, str(manifest["config"]["digest"]))
            config = json.loads(b"".join(pieces))
            typed = all(isinstance(config.get(k) or t(), t) for k, t in _CONFIG_FIELDS.items())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _not_an_image(reference) from error
        if not typed or not all(isinstance(each, dict) for each in config.get("history") or ()):
            raise _not_an_image(reference)
        return config


def _tag_or_digest(reference: ImageReference) -> str:
    return reference.digest or reference.tag or LATEST


def _parse(found: ImageManifest, reference: ImageReference) -> tuple[Json, Sequence[Json]]:
    """A manifest and its layers, or an index and its manifests. Raises NotAnImage."""
    try:
        value = json.loads(found.content)
        descriptors = value["manifests" if found.type in INDEXES else "layers"]
        valid = all(map(_is_descriptor, descriptors))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _not_an_image(reference) from error
    if not valid:
        raise _not_an_image(reference)
    return value, descriptors


def _is_descriptor(value: Json) -> bool:
    typed = all(isinstance(value.get(key), kind) for key, kind in _DESCRIPTOR_FIELDS.items())
    valid = typed and DIGEST.fullmatch(value["digest"])
    return bool(valid) and isinstance(value.get("platform") or {}, dict)


def _select(reference: ImageReference, manifests: Sequence[Json], desired: Platform) -> str:
    """The digest of the best matching manifest of an index. Raises NoSuchPlatform."""
    offered = [platform_from_config(each.get("platform")) for each in manifests]
    index = best_match(desired, offered)
    if index is None:
        raise _no_such_platform(reference, desired, offered)
    digest: str = manifests[index]["digest"]
    return digest


def _no_such_platform(
    reference: ImageReference, desired: Platform, offered: Iterable[Platform | None]
) -> NoSuchPlatform:
    available = ", ".join(dict.fromkeys(str(each) for each in offered if each)) or "no platform"
    return NoSuchPlatform(
        f"'{reference.familiar()}' is not available for {desired}, only for {available}",
        help="Set `platform` of the build step to one of these, or use another base image.",
    )


def _not_an_image(reference: ImageReference) -> NotAnImage:
    return NotAnImage(f"'{reference.familiar()}' is not a valid image manifest or index")
