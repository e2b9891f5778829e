"""Builds images without a container engine, by adding one layer to a base image in a registry.

A Dockerfile that only copies files and changes the image config needs nothing to be executed. The
copied files become one layer, and the other instructions change the config. The layers of the base
image are not read; the manifest refers to them, and they are mounted or copied if the target
registry does not have them. Equal inputs give an equal digest on any machine. Everything else is
rejected, see `copy_destination`.

A built image is kept in a temporary directory until it is pushed, and is lost otherwise.
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
from deployctl.images.reference import ImageReference
from deployctl.images.source import BuildSource

_MEDIA_TYPES = {
    OCI_MANIFEST: (
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    ),
    DOCKER_MANIFEST: (
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ),
}
"""Media type of a manifest → media types of its config and layers."""
_PARALLEL_UPLOADS = 4
_USE_DOCKER = "Build this image with Docker: `--builder docker`."


class CannotAssemble(DeployctlError):
    """The Dockerfile needs a container engine, or is invalid in a way that only shows when it is
    applied."""

    code = "DC736"
    """Replaced by the code of the first diagnostic."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """`diagnostics`: all problems, at least one."""
        first, *others = diagnostics
        self.code = first.code
        more = [f"also {each.span}: {each.message}" for each in others]
        help_ = "\n".join([first.help or _USE_DOCKER, *more])
        super().__init__(f"{first.span}: {first.message}", help=help_)


class ImageNotBuilt(DeployctlError):
    """An image that is to be pushed was not built by this command."""

    code = "DC739"


@dataclass(frozen=True, slots=True)
class _AssembledImage:
    """An image that is ready to be pushed."""

    base: ResolvedImage | None
    """None for `scratch`."""
    layers: tuple[LayerBlob, ...]
    config: bytes
    manifest: bytes
    type: str
    """Media type of the manifest."""
    tags: tuple[str, ...]
    """Tags under which later builds find the image, or its layer of requirements."""

    @property
    def id(self) -> str:
        """Digest of the config."""
        return digest_of(self.config)


@dataclass(frozen=True, slots=True)
class _RequirementsLayer:
    """The layer with the project's requirements, and the tag under which it is found again."""

    layer: LayerBlob
    key: str | None


class AssembleBuilder:
    """The builder that needs registries only. Thread-safe; a context manager."""

    persistent = False

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        on_output: OnOutput,
        cancellation: CancellationToken | None = None,
        python: Callable[[], str] = lambda: sys.executable,
        credentials: CredentialStore | None = None,
    ) -> None:
        """Opens no connection yet.

        `env` locates Docker's config.json. `python` returns the path of an interpreter with pip;
        it is called only if requirements are to be installed and there is no uv. `credentials` are
        those for lookups.
        """
        self._env, self._on_output, self._python = env, on_output, python
        self._cancellation = cancellation or CancellationToken()
        self._registries = Registries(credentials or CredentialStore(env), self._cancellation)
        self._directory = tempfile.TemporaryDirectory(prefix="deployctl-")
        self._assembled: dict[tuple[str, str], _AssembledImage] = {}
        """By image name and id."""
        self._lock = threading.Lock()

    def __enter__(self) -> AssembleBuilder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections and deletes images that were built and not pushed."""
        self._registries.close()
        self._directory.cleanup()

    def local_id(self, image: str) -> str | None:  # noqa: ARG002
        """None: base images are always read from their registry."""
        return None

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The image with this content tag in its registry; None also if that does not say."""
        return self._registries.find(
            spec, content_tag, lambda line: self._on_output(spec.name, line)
        )

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Creates the layer and the config of the image locally; only the config of the base image
        is downloaded.

        Raises CannotAssemble, NeedsEngine, BadDockerfile, BadSubstitution, UnreadableContext, and
        RegistryErrors.
        """
        ImageReference.parse(spec.name)
        if spec.options.get("build_contexts"):
            raise NeedsEngine("`build_contexts` needs a container engine", help=_USE_DOCKER)
        here = Platform.here()
        target = Platform.parse(spec.platform) if spec.platform else here
        parameters = BuildParameters(spec.build_args, spec.platform or str(here), str(here))
        start, stages = stage_chain(require_valid(source.dockerfile), spec.target, parameters)
        base = None
        if start.image != SCRATCH:
            platform = Platform.parse(start.platform) if start.platform else target
            base = self._registries.resolve(ImageReference.parse(start.image), platform)
            self._on_output(spec.name, f"FROM {start.image}@{base.digest}")
        config = ImageConfig(base.config if base else _scratch_config(target))
        contents = LayerContents(config.workdir if base else None, config.run.get("User") or "")
        instructions = list(expand_instructions(source.dockerfile, stages, parameters, config.env))
        requirements = None
        if spec.dockerfile == AUTO and base:
            runs = [each for each in instructions if each.keyword == "RUN"]
            instructions = [each for each in instructions if each not in runs]
            requirements = self._requirements(spec, base, config) if runs else None
        _apply_instructions(instructions, source, config, contents)
        config.add_labels(spec.labels)
        assembled = self._assemble(base, config, contents, requirements, content_tag)
        with self._lock:
            self._assembled[spec.name, assembled.id] = assembled
        tag = spec.tag or content_tag or assembled.id.removeprefix("sha256:")[:12]
        return Image(spec.name, tag, id=assembled.id)

    def push(self, image: Image, tags: Sequence[str], credentials: StepCredentials | None) -> Image:
        """Pushes the image under these tags and its content tag.

        Raises ImageNotBuilt, RegistryErrors, CredentialsError, Interrupted.
        """
        name = ImageReference.parse(image.name)
        store = CredentialStore(self._env, matching_credentials(name, credentials))
        with Registries(store, self._cancellation) as registries:
            if image.digest:
                registries.tag(replace(name, digest=image.digest), tags)
                return image
            with self._lock:
                assembled = self._assembled.get((image.name, image.id or ""))
            if assembled is None:
                raise ImageNotBuilt(
                    f"cannot push '{image.name}:{image.tag}': it was not built by this command",
                    help="Build it in a step of the same command, or push it with Docker.",
                )
            transfers = _push_blobs(assembled, registries, name)
            uploaded = transfers.count(BlobTransfer.UPLOADED)
            self._on_output(image.name, f"{uploaded} of {len(transfers)} blobs uploaded")
            client, digest = registries.client(name.registry), ""
            for tag in dict.fromkeys([*tags, *assembled.tags]):
                digest = client.put_manifest(
                    name.repository, tag, assembled.manifest, assembled.type
                )
                self._on_output(image.name, f"{tag}: {digest}")
            return replace(image, digest=digest)

    def _requirements(
        self, spec: BuildSpec, base: ResolvedImage, config: ImageConfig
    ) -> _RequirementsLayer:
        """The layer of the project's requirements, found or built; sets its environment."""
        image = base.reference.familiar()
        path = spec.context / REQUIREMENTS
        wheel_spec = wheels.wheel_spec(path, image, config.env, base.platform)
        key = wheel_spec.key
        found = None if spec.ignore_cache else self._find_layer(spec, key, base.platform)
        blob = found or wheels.install_wheels(
            wheel_spec,
            self._new_file(),
            env=self._env,
            python=self._python,
            cancellation=self._cancellation,
            on_line=lambda _, line: self._on_output(spec.name, line),
        )
        config.add_env(wheels.layer_environment(config.env))
        config.add_history(_requirements_history(key), layer=True)
        return _RequirementsLayer(blob, key)

    def _find_layer(self, spec: BuildSpec, key: str | None, platform: Platform) -> LayerBlob | None:
        """The layer of requirements in the image that has the tag `key` in the repository."""
        if key is None:
            return None
        with suppress(RegistryError):
            name = replace(ImageReference.parse(spec.name), tag=key)
            found = self._registries.resolve(name, platform)
            for at, text in enumerate(layer_history(found.config)):
                if text == _requirements_history(key):
                    layer, diff_id = found.layers[at], found.config["rootfs"]["diff_ids"][at]
                    self._on_output(spec.name, f"{text}: using layer {layer.digest}")
                    return LayerBlob(None, layer.digest, str(diff_id), layer.size)
        return None

    def _new_file(self) -> Path:
        with tempfile.NamedTemporaryFile(dir=self._directory.name, delete=False) as file:
            return Path(file.name)

    def _assemble(
        self,
        base: ResolvedImage | None,
        config: ImageConfig,
        contents: LayerContents,
        requirements: _RequirementsLayer | None,
        content_tag: str | None,
    ) -> _AssembledImage:
        """Writes the layer, the config and the manifest of an image."""
        layers = [requirements.layer] if requirements else []
        if contents.members:
            layers.append(write_layer(contents.members, self._new_file()))
        media_type = base.type if base else OCI_MANIFEST
        content = canonical_json(config.as_json(each.diff_id for each in layers)).encode()
        base_layers = base.manifest["layers"] if base else []
        manifest = _manifest(media_type, content, base_layers, layers)
        tags = tuple(filter(None, [content_tag, requirements.key if requirements else None]))
        return _AssembledImage(base, tuple(layers), content, manifest, media_type, tags)


def _requirements_history(key: str | None) -> str:
    """`created_by` of the layer of requirements. Layers of earlier builds are found by it."""
    return f"{REQUIREMENTS} from wheels ({key or 'and what it names'})"


def _manifest(
    media_type: str, config: bytes, base_layers: Sequence[Json], layers: Sequence[LayerBlob]
) -> bytes:
    config_type, layer_type = _MEDIA_TYPES[media_type]
    own = [{"mediaType": layer_type, "size": each.size, "digest": each.digest} for each in layers]
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": config_type, "size": len(config), "digest": digest_of(config)},
        "layers": [*base_layers, *own],
    }
    return canonical_json(manifest).encode()


def _push_blobs(
    assembled: _AssembledImage, registries: Registries, name: ImageReference
) -> list[BlobTransfer]:
    """Transfers all blobs of an image into its repository."""
    client, base = registries.client(name.registry), assembled.base
    with ThreadPoolExecutor(_PARALLEL_UPLOADS) as pool:
        own = [pool.submit(_push_layer, client, name, each) for each in assembled.layers]
        config = pool.submit(_push_config, client, name, assembled.config)
        below = [
            pool.submit(registries.copy, layer, base.reference, name)
            for layer in dict.fromkeys(base.layers if base else ())
            if base
        ]
        try:
            return [transfer.result() for transfer in [*own, config, *below]]
        finally:
            pool.shutdown(cancel_futures=True)


def _push_layer(client: RegistryClient, name: ImageReference, blob: LayerBlob) -> BlobTransfer:
    if blob.path is None:
        return BlobTransfer.EXISTING
    return client.push_blob(name.repository, blob.digest, blob.size, file_reader(blob.path))


def _push_config(client: RegistryClient, name: ImageReference, config: bytes) -> BlobTransfer:
    def _read(start: int) -> Generator[bytes, None, None]:
        yield config[start:]

    return client.push_blob(name.repository, digest_of(config), len(config), _read)


def _scratch_config(platform: Platform) -> Json:
    """The config of `scratch`."""
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def _apply_instructions(
    instructions: Iterable[Instruction],
    source: BuildSource,
    config: ImageConfig,
    contents: LayerContents,
) -> None:
    """Applies each instruction to `config` and `contents`. Raises CannotAssemble."""
    report, files, copied = Report(), ContextFiles(source.entries), []
    if has_custom_frontend(source.dockerfile):
        opening = source.dockerfile.span(source.dockerfile.stages[-1].opening)
        report.add("DC736", "the Dockerfile needs a custom frontend (`# syntax=`)", opening)
    for each in instructions:
        text = " ".join([each.keyword, *each.words])
        try:
            if each.keyword == "FROM":
                if config.run.get("OnBuild"):
                    raise NeedsEngine("the base image has ONBUILD instructions")
            elif each.keyword in ("COPY", "ADD"):
                contents.copy(each, files, config.workdir)
                copied.append(text)
            elif config.apply(each):
                config.add_history(text, layer=False)
            else:
                raise NeedsEngine(f"{each.keyword} needs a container engine")
            if each.keyword == "WORKDIR":
                contents.enter(config.workdir)
        except DeployctlError as error:
            span = source.dockerfile.span(each)
            report.add(error.code, error.message, span, help=error.help)
    if report.errors:
        raise CannotAssemble(report.items)
    if contents.members:
        config.add_history("; ".join(copied) or "working folder", layer=True)
