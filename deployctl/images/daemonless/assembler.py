"""Images without any container engine: files are put onto a base image by the registry alone.

A Dockerfile that only copies files and says how they are run needs nothing to be run. What it
copies becomes one layer, its other lines change the configuration; the layers of the base image are
not even looked at, just named, and mounted or sent on where the registry does not have them. Same
input, same digest, on any machine. All that would need more is refused, see `placing`.

A build leaves the image in a temporary folder until it is pushed; nothing else keeps it.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deployctl.clients.registry.client import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    BlobTransfer,
    RegistryClient,
    digest_of,
    file_reader,
)
from deployctl.clients.registry.errors import RegistryError
from deployctl.core.cancellation import CancellationToken
from deployctl.core.diagnostics import Diagnostic, Report
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json, canonical_json
from deployctl.images.builder import OnOutput, StepCredentials
from deployctl.images.content_tag import has_custom_frontend
from deployctl.images.credentials import CredentialStore, matching_credentials
from deployctl.images.daemonless import wheels
from deployctl.images.daemonless.copy_destination import LayerContents, NeedsEngine
from deployctl.images.daemonless.copy_sources import ContextFiles
from deployctl.images.daemonless.image_config import ImageConfig, layer_history
from deployctl.images.daemonless.layer import LayerBlob, write_layer
from deployctl.images.distribution import Registries, ResolvedImage
from deployctl.images.dockerfile.auto import REQUIREMENTS
from deployctl.images.dockerfile.parser import Instruction
from deployctl.images.dockerfile.stages import (
    SCRATCH,
    BuildParameters,
    expand_instructions,
    require_valid,
    stage_chain,
)
from deployctl.images.model import AUTO, BuildSpec, Image
from deployctl.images.platform import Platform
from deployctl.images.reference import Reference
from deployctl.images.source import BuildSource

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
    """Where nothing more special was found first."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """`diagnostics`: all that was found, at least one."""
        first, *others = diagnostics
        self.code = first.code
        more = [f"also {each.span}: {each.message}" for each in others]
        help_ = "\n".join([first.help or _USE_DOCKER, *more])
        super().__init__(f"{first.span}: {first.message}", help=help_)


class ImageNotBuilt(DeployctlError):
    """An image that is to be pushed was not built by this command."""

    code = "DC739"


_USE_DOCKER = "build this image with Docker: `--builder docker`"


@dataclass(frozen=True, slots=True)
class _AssembledImage:
    """An image that is ready to be sent."""

    base: ResolvedImage | None
    """None: it stands on nothing."""
    layers: tuple[LayerBlob, ...]
    config: bytes
    manifest: bytes
    type: str
    """The media type of the manifest."""
    tags: tuple[str, ...]
    """By which it, or a layer of it, is found again."""

    @property
    def id(self) -> str:
        return digest_of(self.config)


@dataclass(frozen=True, slots=True)
class _RequirementsLayer:
    """What a project requires, as a layer, and the tag by which that is found."""

    layer: LayerBlob
    key: str | None


class AssembleBuilder:
    """The builder that needs registries only; a context manager, for many threads."""

    persistent = False

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        on_output: OnOutput,
        stop: CancellationToken | None = None,
        python: Callable[[], str] = lambda: sys.executable,
        logins: CredentialStore | None = None,
    ) -> None:
        """`env` says where Docker's logins are; `python` gives the path of an interpreter that has
        pip, and is asked only where requirements are to be installed and there is no uv; `logins`:
        those that images are looked up with. Connects to nothing yet."""
        self._env, self._on_output, self._stop, self._python = (
            env,
            on_output,
            stop or CancellationToken(),
            python,
        )
        self._registries = Registries(logins or CredentialStore(env), self._stop)
        self._folder = tempfile.TemporaryDirectory(prefix="deployctl-")
        self._made: dict[tuple[str, str], _AssembledImage] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> AssembleBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes every connection, and forgets what was built and not pushed."""
        self._registries.close()
        self._folder.cleanup()

    def local_id(self, image: str) -> str | None:  # noqa: ARG002
        """None: bases are always their registries'."""
        return None

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The image with this content in its registry. A registry that does not say has none."""
        name = replace(Reference.parse(spec.name), tag=content_tag)
        digest = self._registries.find(name, lambda line: self._on_output(spec.name, line))
        return Image(spec.name, spec.tag or content_tag, digest, built=False) if digest else None

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Makes the image's layer and configuration, here; the base image is asked for alone.

        Raises CannotAssemble, NeedsEngine, BadDockerfile, BadSubstitution, Unreadable, and
        RegistryErrors.
        """
        Reference.parse(spec.name)
        if spec.options.get("build_contexts"):
            raise NeedsEngine("`build_contexts` needs a container engine", help=_USE_DOCKER)
        machine = Platform.here()
        wanted = Platform.parse(spec.platform) if spec.platform else machine
        given = BuildParameters(spec.build_args, spec.platform or str(machine), str(machine))
        described, stages = stage_chain(require_valid(source.dockerfile), spec.target, given)
        base = None
        if described.image != SCRATCH:
            platform = Platform.parse(described.platform) if described.platform else wanted
            base = self._registries.resolve(Reference.parse(described.image), platform)
            self._on_output(spec.name, f"FROM {described.image}@{base.digest}")
        config = ImageConfig(base.config if base else _nothing(wanted))
        placed = LayerContents(config.folder if base else None, config.run.get("User") or "")
        instructions = list(expand_instructions(source.dockerfile, stages, given, config.env))
        requirements = None
        if spec.dockerfile == AUTO and base:
            installs = [each for each in instructions if each.keyword == "RUN"]
            instructions = [each for each in instructions if each not in installs]
            requirements = self._installed(spec, base, config) if installs else None
        _follow(instructions, source, config, placed)
        config.label(spec.labels)
        made = self._assembled(base, config, placed, requirements, content_tag)
        with self._lock:
            self._made[spec.name, made.id] = made
        tag = spec.tag or content_tag or made.id.removeprefix("sha256:")[:12]
        return Image(spec.name, tag, id=made.id)

    def push(self, image: Image, tags: Sequence[str], login: StepCredentials | None) -> Image:
        """Puts the image into its registry under these tags, and that of its content.

        Raises NotBuilt, RegistryErrors, LoginUnusable, Interrupted.
        """
        name = Reference.parse(image.name)
        registries = Registries(
            CredentialStore(self._env, matching_credentials(name, login)), self._stop
        )
        try:
            if image.digest:
                registries.tag(replace(name, digest=image.digest), tags)
                return image
            with self._lock:
                made = self._made.get((image.name, image.id or ""))
            if made is None:
                raise ImageNotBuilt(
                    f"'{image.name}:{image.tag}' is to be pushed, and was not built before",
                    help="without Docker, only what the same command builds can be pushed",
                )
            how = _send(made, registries, name)
            self._on_output(
                image.name, f"{how.count(BlobTransfer.UPLOADED)} of {len(how)} blobs uploaded"
            )
            digest = ""
            for tag in dict.fromkeys([*tags, *made.tags]):
                registry = registries.at(name.registry)
                digest = registry.put_manifest(name.repository, tag, made.manifest, made.type)
                self._on_output(image.name, f"{tag}: {digest}")
            return replace(image, digest=digest)
        finally:
            registries.close()

    def _installed(
        self, spec: BuildSpec, base: ResolvedImage, config: ImageConfig
    ) -> _RequirementsLayer:
        """The layer of a project's requirements, made or found; `config` gets what it needs."""
        image = base.reference.familiar()
        path = spec.context / REQUIREMENTS
        wanted = wheels.wheel_spec(path, image, config.env, base.platform)
        found = None if spec.ignore_cache else self._found(spec, wanted.key, base.platform)
        blob = found or wheels.install_wheels(
            wanted,
            self._new_file(),
            env=self._env,
            python=self._python,
            stop=self._stop,
            on_line=lambda _, line: self._on_output(spec.name, line),
        )
        config.add_env(wheels.environment(config.env))
        config.told(_told(wanted.key), layer=True)
        return _RequirementsLayer(blob, wanted.key)

    def _found(self, spec: BuildSpec, key: str | None, platform: Platform) -> LayerBlob | None:
        """The layer that a tag of the image's repository leads to."""
        if key is None:
            return None
        with suppress(RegistryError):
            name = replace(Reference.parse(spec.name), tag=key)
            found = self._registries.resolve(name, platform)
            for at, text in enumerate(layer_history(found.config)):
                if text == _told(key):
                    layer, diff_id = found.layers[at], found.config["rootfs"]["diff_ids"][at]
                    self._on_output(spec.name, f"{text}: {layer.digest} is there")
                    return LayerBlob(None, layer.digest, str(diff_id), layer.size)
        return None

    def _new_file(self) -> Path:
        with tempfile.NamedTemporaryFile(dir=self._folder.name, delete=False) as file:
            return Path(file.name)

    def _assembled(
        self,
        base: ResolvedImage | None,
        config: ImageConfig,
        placed: LayerContents,
        requirements: _RequirementsLayer | None,
        content_tag: str | None,
    ) -> _AssembledImage:
        """Writes what an image is made of."""
        layers = [requirements.layer] if requirements else []
        if placed.items:
            layers.append(write_layer(placed.items, self._new_file()))
        kind = base.type if base else OCI_MANIFEST
        content = canonical_json(config.finished(each.diff_id for each in layers)).encode()
        below = base.manifest["layers"] if base else []
        manifest = _manifest(kind, content, below, layers)
        more = [content_tag, requirements.key if requirements else None]
        tags = tuple(filter(None, more))
        return _AssembledImage(base, tuple(layers), content, manifest, kind, tags)


def _told(key: str | None) -> str:
    """What an image's history says of the layer of requirements."""
    return f"{REQUIREMENTS} from wheels ({key or 'and what it names'})"


def _manifest(
    kind: str, config: bytes, below: Sequence[Json], layers: Sequence[LayerBlob]
) -> bytes:
    """A manifest of the media type `kind`."""
    config_type, layer_type = _TYPES[kind]
    own = [{"mediaType": layer_type, "size": each.size, "digest": each.digest} for each in layers]
    about = {"mediaType": config_type, "size": len(config), "digest": digest_of(config)}
    whole: Json = {"schemaVersion": 2, "mediaType": kind, "config": about, "layers": [*below, *own]}
    return canonical_json(whole).encode()


def _send(made: _AssembledImage, registries: Registries, name: Reference) -> list[BlobTransfer]:
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
        try:
            return [sent.result() for sent in [*own, config, *below]]
        finally:
            pool.shutdown(cancel_futures=True)


def _send_file(registry: RegistryClient, name: Reference, blob: LayerBlob) -> BlobTransfer:
    if blob.path is None:
        return BlobTransfer.THERE
    return registry.push_blob(name.repository, blob.digest, blob.size, file_reader(blob.path))


def _send_config(registry: RegistryClient, name: Reference, config: bytes) -> BlobTransfer:
    def read(start: int) -> Generator[bytes, None, None]:
        yield config[start:]

    return registry.push_blob(name.repository, digest_of(config), len(config), read)


def _nothing(platform: Platform) -> Json:
    """The configuration of `scratch`."""
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _follow(
    instructions: Iterable[Instruction],
    source: BuildSource,
    config: ImageConfig,
    placed: LayerContents,
) -> None:
    """Does what each instruction says, to `config` and `placed`. Raises CannotAssemble."""
    report, files, copied = Report(), ContextFiles(source.entries), []
    opening = source.dockerfile.span(source.dockerfile.stages[-1].opening)
    if has_custom_frontend(source.dockerfile):
        report.error("DC736", "the Dockerfile is for a builder of its own", opening)
    for each in instructions:
        text = " ".join([each.keyword, *each.words])
        try:
            if each.keyword == "FROM":
                if config.run.get("OnBuild"):
                    raise NeedsEngine("what it begins from has ONBUILD instructions")
            elif each.keyword in ("COPY", "ADD"):
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
        config.told("; ".join(copied) or "working folder", layer=True)
