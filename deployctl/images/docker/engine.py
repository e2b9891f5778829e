"""Builder for Docker Engine and compatible engines such as Podman.

Every image also gets its content tag, in the engine and in the registry, so that it is found again
where it was never pushed, and on a new CI machine whose engine is empty. A label would leave fewer
tags, but images that are based on the image would inherit it. The engine pushes, because it has the
layers; the resulting digest is compared with the registry's, if that is reachable from here.
Engines get full names with the registry: Podman resolves a short name to any image whose name ends
with it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from deployctl.clients.docker import Engine, EngineRefused
from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import DigestMismatch, RegistryError
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.images.builder import OnOutput, StepCredentials
from deployctl.images.content_tag import PREFIX
from deployctl.images.credentials import CredentialStore, matching_credentials
from deployctl.images.distribution import Registries
from deployctl.images.docker import buildx
from deployctl.images.docker.engine_errors import (
    BadOption,
    BuildFailed,
    NoSuchImage,
    PushFailed,
    build_failed,
    push_failed,
)
from deployctl.images.docker.engine_output import OutputParser, failed_instruction, interruptible
from deployctl.images.model import BuildSpec, Image
from deployctl.images.reference import LATEST, ImageReference
from deployctl.images.source import BuildSource

_OPTIONS = frozenset(
    {"cache_from", "container_limits", "extra_hosts", "forcerm", "isolation", "network_mode"}
    | {"nocache", "pull", "rm", "shmsize", "squash", "timeout", "use_config_proxy"}
)
"""Options of docker-py's `build` that a step may set; fields of the spec cover the others."""
_WITHOUT_EFFECT = frozenset({"decode", "encoding", "gzip", "quiet"})
"""Options of the transfer to the engine, which is always the same."""
_DEFAULTS = {"pull": True, "rm": True, "forcerm": True}


class DockerBuilder:
    """Builds with the engine's classic builder, or with buildx for `build_backend: buildx`."""

    persistent = True

    def __init__(
        self,
        engine: Engine,
        *,
        env: Mapping[str, str],
        on_output: OnOutput,
        cancellation: CancellationToken | None = None,
        credentials: CredentialStore | None = None,
    ) -> None:
        """Opens no connection yet.

        `env` locates Docker's config.json, and is the environment of the docker command for buildx.
        `credentials` are those for lookups.
        """
        self._engine, self._env, self._on_output = engine, env, on_output
        self._cancellation = cancellation or CancellationToken()
        self._registries = Registries(credentials or CredentialStore(env), self._cancellation)

    def close(self) -> None:
        """Closes all connections to registries."""
        self._registries.close()

    def local_id(self, image: str) -> str | None:
        """The id of an image in the engine, or None."""
        found = self._engine.image(image)
        return str(found["Id"]) if found else None

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The image with this content tag in the engine, or else in the registry.

        An image in the engine gets the tags of the spec. None also if the registry does not say.
        """
        name = ImageReference.parse(spec.name).name
        if found := self._engine.image(f"{name}:{content_tag}"):
            return self._tag(spec, content_tag, str(found["Id"]), built=False)
        return self._registries.find(spec, content_tag, self._line_output(spec))

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Builds the image and tags it with the tags of the spec and the content tag, or with its
        id if there is none.

        Raises BuildFailed, BadOption, NoBuildx, BadReference, UnreadableContext, EngineUnreachable,
        Interrupted.
        """
        ImageReference.parse(spec.name)
        if spec.backend == "docker-py":
            return self._tag(spec, content_tag, self._classic_build(spec, source))
        tags = list(dict.fromkeys(filter(None, [spec.tag, content_tag, *spec.additional_tags])))
        result = buildx.build(
            spec, source, tags, self._env, self._line_output(spec), self._cancellation
        )
        if result.digest:
            return Image(spec.name, tags[0], result.digest)
        for each in result.ids:
            if found := self._engine.image(each):
                return self._tag(spec, content_tag, str(found["Id"]))
        raise build_failed(spec.name, "the engine does not have the built image", "", [])

    def push(self, image: Image, tags: Sequence[str], credentials: StepCredentials | None) -> Image:
        """Pushes the image under these tags and its content tag.

        Raises NoSuchImage, and RegistryErrors also for what the engine reports of the registry.
        """
        name = ImageReference.parse(image.name)
        store = CredentialStore(self._env, matching_credentials(name, credentials))
        with Registries(store, self._cancellation) as registries:
            if image.digest:
                registries.tag(replace(name, digest=image.digest), tags)
                return image
            found = self._engine.image(image.id or f"{name.name}:{image.tag}")
            if found is None:
                raise NoSuchImage(
                    f"cannot push '{image.name}:{image.tag}': the engine does not have it",
                    help="Build it in an earlier step, or use the name of the built image.",
                )
            prefixes = tuple(f"{each}:{PREFIX}" for each in (name.name, name.familiar()))
            known = [each for each in found["RepoTags"] or () if each.startswith(prefixes)]
            auth = _auth_config(store.get(name.registry))
            digest = ""
            for tag in dict.fromkeys([*tags, *(each.rpartition(":")[2] for each in known)]):
                self._engine.tag(found["Id"], name.name, tag)
                digest = self._push(image.name, replace(name, tag=tag), auth)
                _verify(registries, replace(name, tag=tag), digest)
            return replace(image, id=str(found["Id"]), digest=digest)

    def _tag(self, spec: BuildSpec, content_tag: str | None, id_: str, built: bool = True) -> Image:
        """Tags an image of the engine with the tags of the spec."""
        name = ImageReference.parse(spec.name).name
        tag = spec.tag or content_tag or id_.removeprefix("sha256:")[:12]
        for each in dict.fromkeys([tag, *spec.additional_tags, content_tag or tag]):
            self._engine.tag(id_, name, each)
        return Image(spec.name, tag, id=id_, built=built)

    def _classic_build(self, spec: BuildSpec, source: BuildSource) -> str:
        """Builds with the classic builder; returns the image id."""
        options = _options(spec)
        output = OutputParser(self._line_output(spec))
        with tempfile.TemporaryFile() as context:
            try:
                dockerfile = source.archive(context)
                context.seek(0)
            except OSError as error:
                raise BuildFailed(
                    f"cannot write the build context of '{spec.name}' to '{tempfile.gettempdir()}':"
                    f" {error.strerror}",
                    help="Set TMPDIR to another directory, or exclude files in .dockerignore.",
                ) from error
            records = self._engine.build(context, dockerfile=dockerfile, **options)
            try:
                self._consume(records, output)
            except EngineRefused as error:
                output.failure = error.detail
        if output.failure or not output.id:
            reason = output.failure or "the engine returned no image"
            position = failed_instruction(source.dockerfile, output)
            raise build_failed(spec.name, reason, position, output.lines)
        return output.id

    def _push(self, name: str, reference: ImageReference, auth: Mapping[str, str]) -> str:
        """Pushes one tag and returns its digest; `name` is the image's name in the output."""
        output = OutputParser(lambda line: self._on_output(name, line))
        try:
            records = self._engine.push(reference.name, reference.tag or LATEST, auth)
            self._consume(records, output)
        except EngineRefused as error:
            output.failure = error.detail
        if output.failure:
            raise push_failed(reference, output.failure)
        if not output.digest:
            raise PushFailed(f"the engine returned no digest for '{reference.familiar()}'")
        return output.digest

    def _consume(self, records: Iterator[Json], output: OutputParser) -> None:
        for record in interruptible(records, self._cancellation):
            output.feed(record)
        output.close()

    def _line_output(self, spec: BuildSpec) -> Callable[[str], None]:
        return lambda line: self._on_output(spec.name, line)


def _options(spec: BuildSpec) -> dict[str, Json]:
    """The arguments of docker-py's `build` for a spec. Raises BadOption."""
    options = {k: v for k, v in spec.options.items() if k not in _WITHOUT_EFFECT}
    for unknown in options.keys() - _OPTIONS:
        raise BadOption(
            f"the build step of '{spec.name}' has an option that Docker's classic builder does not"
            f" have: '{unknown}'",
            help=f"Use one of {', '.join(sorted(_OPTIONS))}, or an option of buildx with"
            " `build_backend: buildx`.",
        )
    arguments = {str(name): str(value) for name, value in spec.build_args.items()}
    return {
        **_DEFAULTS,
        **({"nocache": True} if spec.ignore_cache else {}),
        **options,
        "buildargs": arguments,
        "labels": dict(spec.labels),
        "target": spec.target,
        "platform": spec.platform,
    }


def _auth_config(credentials: Credentials | None) -> dict[str, str]:
    """Credentials in the form of the Engine API."""
    if credentials is None:
        return {}
    if credentials.identity_token:
        return {"identitytoken": credentials.identity_token}
    return {"username": credentials.username, "password": credentials.password}


def _verify(registries: Registries, name: ImageReference, digest: str) -> None:
    """Compares the engine's digest with the registry's, if that is reachable from here."""
    try:
        actual = registries.head(name)
    except RegistryError:
        return
    if actual != digest:
        raise DigestMismatch(
            f"'{name.familiar()}' has the digest {actual} after the push, and not {digest}",
            help="Push it again; another process may have pushed the same tag meanwhile.",
        )
