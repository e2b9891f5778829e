"""Images without any container engine: files are put onto a base image by the registry alone.

A Dockerfile that only copies files and says how they are run needs nothing to be run. What it
copies becomes one layer, its other lines change the configuration; the layers of the base image are
not even looked at, just named, and mounted or sent on where the registry does not have them. Same
input, same digest, on any machine. All that would need more is refused, see `placing`.

A build leaves the image in a temporary folder until it is pushed; nothing else keeps it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.clients.registry import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Pushed,
    Registry,
    digest_of,
    from_file,
)
from deployctl.clients.registry_auth import Login as RegistryLogin
from deployctl.clients.registry_errors import RegistryError
from deployctl.core.diagnostics import Diagnostic, Report
from deployctl.core.errors import DeployctlError
from deployctl.core.stop import Stop
from deployctl.core.values import Json, canonical
from deployctl.images.building import Login, Tell
from deployctl.images.config import Configuration
from deployctl.images.copying import Files
from deployctl.images.credentials import Logins, host_of
from deployctl.images.distribution import Registries, Resolved
from deployctl.images.dockerfile import Instruction
from deployctl.images.layer import Blob, write
from deployctl.images.model import AUTO, Image, Recipe
from deployctl.images.placing import NeedsEngine, Placed
from deployctl.images.platform import Platform
from deployctl.images.reference import Reference
from deployctl.images.source import Source
from deployctl.images.stages import SCRATCH, Given, chain, checked, resolve

_TYPES = {
    OCI_MANIFEST: (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    DOCKER_MANIFEST: (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
}
"""The media types of configuration and layers that go with one of the manifest."""
_UPLOADS_AT_ONCE = 4


class CannotAssemble(DeployctlError):
    """A Dockerfile needs a container engine, or has mistakes that only show when it is followed."""

    code = "DC736"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """`diagnostics`: all that was found, at least one."""
        first, *others = diagnostics
        more = f" (and {len(others)} more)" if others else ""
        super().__init__(f"{first.span}: {first.message}{more}", help=first.help or _USE_DOCKER)
        self.diagnostics = tuple(diagnostics)


class NotBuilt(DeployctlError):
    """An image that is to be pushed was not built by this command."""

    code = "DC739"


_USE_DOCKER = "build this image with Docker: `--builder docker`"


@dataclass(frozen=True, slots=True)
class _Assembled:
    """An image that is ready to be sent."""

    base: Resolved | None
    """None: it stands on nothing."""
    layers: tuple[Blob, ...]
    config: bytes
    manifest: bytes
    type: str
    """The media type of the manifest."""
    content_tag: str | None

    @property
    def id(self) -> str:
        return digest_of(self.config)


class AssembleBuilder:
    """The builder that needs registries only; a context manager, for many threads."""

    def __init__(self, *, env: Mapping[str, str], tell: Tell, stop: Stop | None = None) -> None:
        """`env` says where Docker's logins are. Connects to nothing yet."""
        self._env, self._tell, self._stop = env, tell, stop or Stop()
        self._registries = Registries(Logins(env), self._stop)
        self._folder = tempfile.TemporaryDirectory(prefix="deployctl-")
        self._made: dict[tuple[str, str], _Assembled] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> AssembleBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection, and forgets what was built and not pushed."""
        self._registries.close()
        self._folder.cleanup()

    def find(self, recipe: Recipe, content_tag: str) -> Image | None:
        """The image with this content in its registry. A registry that does not say has none."""
        with suppress(RegistryError):
            name = replace(Reference.parse(recipe.name), tag=content_tag)
            if digest := self._registries.exists(name):
                return Image(recipe.name, recipe.tag or content_tag, digest, built=False)
        return None

    def build(self, recipe: Recipe, source: Source, content_tag: str | None) -> Image:
        """Makes the image's layer and configuration, here; the base image is asked for alone.

        Raises CannotAssemble, BadDockerfile, BadSubstitution, Unreadable, RegistryErrors.
        """
        Reference.parse(recipe.name)
        machine = Platform.here()
        wanted = Platform.parse(recipe.platform) if recipe.platform else machine
        given = Given(recipe.build_args, recipe.platform or str(machine), str(machine))
        described, stages = chain(checked(source.dockerfile), recipe.target, given)
        base = None
        if described.image != SCRATCH:
            platform = Platform.parse(described.platform) if described.platform else wanted
            base = self._registries.resolve(Reference.parse(described.image), platform)
            self._tell(recipe.name, f"FROM {described.image}@{base.digest}")
        config = Configuration(base.config if base else _nothing(wanted))
        placed = Placed(config.folder if base else None)
        instructions = resolve(source.dockerfile, stages, given, config.env)
        _follow(instructions, source, config, placed, made_up=recipe.dockerfile == AUTO)
        config.label(recipe.labels)
        made = self._assembled(base, config, placed, content_tag)
        for each in made.layers:
            self._tell(recipe.name, f"a layer of {len(placed.items)} files, {each.size} bytes")
        with self._lock:
            self._made[recipe.name, made.id] = made
        tag = recipe.tag or content_tag or made.id.removeprefix("sha256:")[:12]
        return Image(recipe.name, tag, id=made.id)

    def push(self, image: Image, tags: Sequence[str], login: Login | None) -> Image:
        """Puts the image into its registry under these tags, and that of its content.

        Raises NotBuilt, RegistryErrors, LoginUnusable, Interrupted.
        """
        name = Reference.parse(image.name)
        registries = Registries(Logins(self._env, _given(name, login)), self._stop)
        try:
            if image.digest:
                registries.tag(replace(name, digest=image.digest), tags)
                return image
            with self._lock:
                made = self._made.get((image.name, image.id or ""))
            if made is None:
                raise NotBuilt(
                    f"'{image.name}:{image.tag}' is to be pushed, and was not built before",
                    help="without Docker, only what the same command builds can be pushed",
                )
            how = self._send(made, registries, name)
            self._tell(image.name, f"{how.count(Pushed.UPLOADED)} of {len(how)} blobs uploaded")
            digest = ""
            for tag in dict.fromkeys([*tags, *filter(None, [made.content_tag])]):
                registry = registries.at(name.registry)
                digest = registry.put_manifest(name.repository, tag, made.manifest, made.type)
                self._tell(image.name, f"{tag}: {digest}")
            return replace(image, digest=digest)
        finally:
            registries.close()

    def _assembled(
        self, base: Resolved | None, config: Configuration, placed: Placed, tag: str | None
    ) -> _Assembled:
        """Writes what an image is made of."""
        layers = []
        if placed.items:
            file = tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False)  # noqa: SIM115
            file.close()
            layers.append(write(placed.items, Path(file.name)))
        content = canonical(config.finished(each.diff_id for each in layers)).encode()
        kind = base.type if base else OCI_MANIFEST
        config_type, layer_type = _TYPES[kind]
        below = list(base.manifest["layers"]) if base else []
        above = [
            {"mediaType": layer_type, "size": each.size, "digest": each.digest} for each in layers
        ]
        manifest: Json = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": config_type,
                "size": len(content),
                "digest": digest_of(content),
            },
            "layers": [*below, *above],
        }
        return _Assembled(base, tuple(layers), content, canonical(manifest).encode(), kind, tag)

    def _send(self, made: _Assembled, registries: Registries, name: Reference) -> list[Pushed]:
        """Sees that all blobs of an image are in its repository; tells how each came there."""
        registry, base = registries.at(name.registry), made.base
        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            own = [pool.submit(_send_file, registry, name, each) for each in made.layers]
            config = pool.submit(_send_config, registry, name, made.config)
            below = [
                pool.submit(registries.copy, layer, base.reference, name)
                for layer in dict.fromkeys(base.layers if base else ())
                if base
            ]
            return [sent.result() for sent in [*own, config, *below]]


def _given(name: Reference, login: Login | None) -> dict[str, RegistryLogin]:
    """The step's own login, if it is for the registry of this image."""
    if login and (not login.registry or host_of(login.registry) == name.registry):
        return {name.registry: RegistryLogin(login.username, login.password)}
    return {}


def _send_file(registry: Registry, name: Reference, blob: Blob) -> Pushed:
    return registry.push_blob(name.repository, blob.digest, blob.size, from_file(blob.path))


def _send_config(registry: Registry, name: Reference, config: bytes) -> Pushed:
    def read(start: int) -> Generator[bytes, None, None]:
        yield config[start:]

    return registry.push_blob(name.repository, digest_of(config), len(config), read)


def _nothing(platform: Platform) -> Json:
    """The configuration of `scratch`."""
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _follow(
    instructions: Iterable[Instruction],
    source: Source,
    config: Configuration,
    placed: Placed,
    *,
    made_up: bool,
) -> None:
    """Does what each instruction says, to `config` and `placed`. Raises CannotAssemble."""
    report, files, copied = Report(), Files(source.entries), []
    if config.run.get("OnBuild"):
        opening = source.dockerfile.stages[-1].opening
        message = "the base image has ONBUILD instructions, which are not known here"
        report.error("DC736", message, source.dockerfile.span(opening))
    for each in instructions:
        text = " ".join([each.keyword, *each.words])
        if made_up and each.keyword == "RUN":
            continue
        try:
            if each.keyword in ("COPY", "ADD"):
                placed.copy(each, files, config.folder)
                copied.append(text)
            elif config.apply(each):
                config.told(text, layer=False)
            else:
                raise NeedsEngine(f"{each.keyword} needs a container engine")
            if each.keyword == "WORKDIR":
                placed.enter(config.folder)
        except DeployctlError as error:
            span = source.dockerfile.span(each)
            report.error(error.code, error.message, span, help=error.help)
    if report.errors:
        raise CannotAssemble(report.items)
    if placed.items:
        config.told("; ".join(copied) or "WORKDIR", layer=True)
