"""Images by a container engine: found, built and pushed by Docker, or what speaks its language.

Every image also has the tag of its content, in the engine and in the registry; so it is found again
where it was never pushed, and on a fresh CI machine, whose engine has nothing. A label would do
too, and leave fewer tags behind, but images that others build on top would inherit it. A push goes
through the engine, which knows the layers; where it ended is held against the registry's own word,
as far as that can be reached from here. The engine is told whole names, with the registry: Podman
takes a short one for that of any image whose name ends so.
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
from deployctl.images.reference import LATEST, Reference
from deployctl.images.source import BuildSource

_OPTIONS = frozenset(
    {"cache_from", "container_limits", "extra_hosts", "forcerm", "isolation", "network_mode"}
    | {"nocache", "pull", "rm", "shmsize", "squash", "timeout", "use_config_proxy"}
)
"""The options of docker-py's `build` that a step may give; the spec holds some by itself."""
_WITHOUT_EFFECT = frozenset({"decode", "encoding", "gzip", "quiet"})
"""Options about the way of speaking to the engine, which is the same in any case."""
_DEFAULTS = {"pull": True, "rm": True, "forcerm": True}


class DockerBuilder:
    """The builder of specs by an engine: with its own builder, or buildx where they say so."""

    persistent = True

    def __init__(
        self,
        engine: Engine,
        *,
        env: Mapping[str, str],
        on_output: OnOutput,
        stop: CancellationToken | None = None,
        logins: CredentialStore | None = None,
    ) -> None:
        """`env` says where Docker's logins are, and is that of the docker command, which buildx
        needs; `logins`: those that images are looked up with. Connects to nothing yet."""
        self._engine, self._env, self._on_output = engine, env, on_output
        self._stop = stop or CancellationToken()
        self._registries = Registries(logins or CredentialStore(env), self._stop)

    def close(self) -> None:
        """Closes every connection to registries."""
        self._registries.close()

    def local_id(self, image: str) -> str | None:
        """The id of an image of the engine."""
        found = self._engine.image(image)
        return str(found["Id"]) if found else None

    def find(self, spec: BuildSpec, content_tag: str) -> Image | None:
        """The image with this content, from the engine, which then has the spec's tags too, or
        from the registry. A registry that does not say has none."""
        name = Reference.parse(spec.name)
        if found := self._engine.image(f"{name.name}:{content_tag}"):
            return self._named(spec, content_tag, str(found["Id"]), built=False)
        digest = self._registries.find(replace(name, tag=content_tag), self._told(spec))
        return Image(spec.name, spec.tag or content_tag, digest, built=False) if digest else None

    def build(self, spec: BuildSpec, source: BuildSource, content_tag: str | None) -> Image:
        """Builds the image, which gets the spec's tags and that of its content; one by its id
        if there is none. Raises BuildFailed, BadOption, NoBuildx, BadReference, Unreadable,
        EngineUnreachable, Interrupted."""
        Reference.parse(spec.name)
        if spec.backend == "docker-py":
            return self._named(spec, content_tag, self._built(spec, source))
        tags = list(dict.fromkeys(filter(None, [spec.tag, content_tag, *spec.additional_tags])))
        built = buildx.build(spec, source, tags, self._env, self._told(spec), self._stop)
        if built.digest:
            return Image(spec.name, tags[0], built.digest)
        for each in built.ids:
            if found := self._engine.image(each):
                return self._named(spec, content_tag, str(found["Id"]))
        raise build_failed(spec.name, "it is not in the engine now", "", [])

    def push(self, image: Image, tags: Sequence[str], login: StepCredentials | None) -> Image:
        """Puts the image into its registry under these tags, and that of its content.

        Raises NoSuchImage, and RegistryErrors also for what the engine says of the registry.
        """
        name = Reference.parse(image.name)
        logins = CredentialStore(self._env, matching_credentials(name, login))
        registries = Registries(logins, self._stop)
        try:
            if image.digest:
                registries.tag(replace(name, digest=image.digest), tags)
                return image
            found = self._engine.image(image.id or f"{name.name}:{image.tag}")
            if found is None:
                raise NoSuchImage(
                    f"the engine has no image '{image.name}:{image.tag}' to push",
                    help="build it in a step before, or name the one that was built",
                )
            of_content = tuple(f"{each}:{PREFIX}" for each in (name.name, name.familiar()))
            known = [each for each in found["RepoTags"] or () if each.startswith(of_content)]
            auth = _auth(logins.of(name.registry))
            digest = ""
            for tag in dict.fromkeys([*tags, *(each.rpartition(":")[2] for each in known)]):
                self._engine.tag(found["Id"], name.name, tag)
                digest = self._pushed(image.name, replace(name, tag=tag), auth)
                _verify(registries, replace(name, tag=tag), digest)
            return replace(image, id=str(found["Id"]), digest=digest)
        finally:
            registries.close()

    def _named(
        self, spec: BuildSpec, content_tag: str | None, id_: str, built: bool = True
    ) -> Image:
        """An image of the engine, with the spec's tags."""
        name = Reference.parse(spec.name).name
        tag = spec.tag or content_tag or id_.removeprefix("sha256:")[:12]
        for each in dict.fromkeys([tag, *spec.additional_tags, content_tag or tag]):
            self._engine.tag(id_, name, each)
        return Image(spec.name, tag, id=id_, built=built)

    def _built(self, spec: BuildSpec, source: BuildSource) -> str:
        """The id of the image that the engine's own builder makes."""
        options = _options(spec)
        output = OutputParser(self._told(spec))
        with tempfile.TemporaryFile() as context:
            try:
                dockerfile = source.archive(context)
                context.seek(0)
            except OSError as error:
                raise BuildFailed(
                    f"the files for '{spec.name}' cannot be put into '{tempfile.gettempdir()}':"
                    f" {error.strerror}",
                    help="name another folder with TMPDIR, or leave files out in .dockerignore",
                ) from error
            records = self._engine.build(context, dockerfile=dockerfile, **options)
            try:
                self._follow(records, output)
            except EngineRefused as error:
                output.failure = error.detail
        if output.failure or not output.id:
            reason = output.failure or "the engine gave no image"
            at = failed_instruction(source.dockerfile, output)
            raise build_failed(spec.name, reason, at, output.lines)
        return output.id

    def _pushed(self, name: str, reference: Reference, auth: Mapping[str, str]) -> str:
        """Pushes one tag and gives its digest; `name` is what the image is called in the lines."""
        output = OutputParser(lambda line: self._on_output(name, line))
        try:
            told = self._engine.push(reference.name, reference.tag or LATEST, auth)
            self._follow(told, output)
        except EngineRefused as error:
            output.failure = error.detail
        if output.failure:
            raise push_failed(reference, output.failure)
        if not output.digest:
            raise PushFailed(f"the engine gave no digest of '{reference.familiar()}'")
        return output.digest

    def _follow(self, records: Iterator[Json], output: OutputParser) -> None:
        for record in interruptible(records, self._stop):
            output.take(record)
        output.end()

    def _told(self, spec: BuildSpec) -> Callable[[str], None]:
        return lambda line: self._on_output(spec.name, line)


def _options(spec: BuildSpec) -> dict[str, Json]:
    """The arguments of docker-py's `build` for a spec. Raises BadOption."""
    options = {k: v for k, v in spec.options.items() if k not in _WITHOUT_EFFECT}
    for unknown in options.keys() - _OPTIONS:
        raise BadOption(
            f"the build step of '{spec.name}' has an option that Docker's builder does not know:"
            f" {unknown}",
            help=f"it knows {', '.join(sorted(_OPTIONS))}; buildx knows others",
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


def _auth(login: Credentials | None) -> dict[str, str]:
    """A login as engines are told it."""
    if login is None:
        return {}
    if login.identity_token:
        return {"identitytoken": login.identity_token}
    return {"username": login.username, "password": login.password}


def _verify(registries: Registries, name: Reference, digest: str) -> None:
    """Holds the digest that an engine gave against the registry, if it can be asked from here."""
    try:
        there = registries.exists(name)
    except RegistryError:
        return
    if there != digest:
        raise DigestMismatch(
            f"'{name.familiar()}' is not what the engine has pushed: {there} and not {digest}",
            help="push it again; somebody else may have pushed the same tag meanwhile",
        )
