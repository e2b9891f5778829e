"""Who makes the images of a command, and what is known of the world for that.

`auto` is Docker where an engine answers, and else the builder that needs none. Nothing here looks
for an engine, a registry or an interpreter before a step needs one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from deployctl.clients.docker import Engine, EngineRefused, EngineUnreachable
from deployctl.clients.registry.errors import RegistryError, RegistryUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.core.retry import Backoff
from deployctl.flows.importer import find_interpreter, project_python
from deployctl.images.builder import Builder, OnOutput
from deployctl.images.credentials import CredentialStore
from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.distribution import Registries
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import BuilderChoice, BuildSpec
from deployctl.images.pipeline import ImagePipeline
from deployctl.images.platform import Platform
from deployctl.images.reference import Reference
from deployctl.images.source import ProjectVersions

Given = TypeVarTuple("Given")
T = TypeVar("T")

_PROBE_TIMEOUT = 3.0
_LOOKUP_BACKOFF = Backoff(tries=3)
"""A look for what is there already is only worth a second of waiting."""
_BUILD_TIMEOUT = 600.0
"""For which an engine may say nothing: a registry that it pushes to may take its time."""
_DEFAULT_PYTHON = "3.11"
"""Of the base image, where the project has no interpreter with Prefect to go by."""


def _once(ask: Callable[[*Given], T]) -> Callable[[*Given], T]:
    """The same function, asked once for each argument; what others ask meanwhile waits."""
    answers: dict[tuple[*Given], T] = {}
    lock = threading.Lock()

    def answer(*given: *Given) -> T:
        with lock:
            if given not in answers:
                answers[given] = ask(*given)
            return answers[given]

    return answer


@contextmanager
def open_image_pipeline(
    builder: BuilderChoice,
    folder: Path,
    environ: Mapping[str, str],
    release: Callable[[], str],
    on_output: OnOutput,
    stop: CancellationToken,
) -> Iterator[ImagePipeline]:
    """What makes the images of a command that runs in `folder`.

    `release`: gives the server's version, like `3.8.8` (the newest for Prefect Cloud); asked for
    only where the project has no Prefect of its own, for a Dockerfile that is made up.
    """
    with ExitStack() as closing:
        logins = CredentialStore(environ)
        builders = _Builders(builder, folder, environ, on_output, stop, logins, closing)
        registries = Registries(logins, stop, backoff=_LOOKUP_BACKOFF)
        closing.callback(registries.close)
        silent: set[str] = set()

        @_once
        def digest_of(base: BaseImage) -> str | None:
            platform = Platform.parse(base.platform) if base.platform else None
            reference = Reference.parse(base.image)
            if reference.registry in silent:
                return None
            try:
                return registries.resolve(reference, platform).digest
            except RegistryUnreachable as error:
                silent.add(reference.registry)
                on_output("images", f"{error.message}; what begins from its images is built anew")
            except RegistryError:
                pass
            return None

        @_once
        def versions() -> ProjectVersions:
            found = find_interpreter(folder, environ)
            return (
                ProjectVersions(found.prefect, found.python)
                if found
                else ProjectVersions(release(), _DEFAULT_PYTHON)
            )

        yield ImagePipeline(builders.select, digest_of, versions, builders.build_platform, logins)


class _Builders:
    """Opens an engine when it is first needed."""

    def __init__(
        self,
        wanted: BuilderChoice,
        folder: Path,
        environ: Mapping[str, str],
        on_output: OnOutput,
        stop: CancellationToken,
        logins: CredentialStore,
        closing: ExitStack,
    ) -> None:
        self._wanted = wanted
        self._engine = Engine(patience=_BUILD_TIMEOUT)
        closing.callback(self._engine.close)
        self._docker = DockerBuilder(
            self._engine, env=environ, on_output=on_output, stop=stop, logins=logins
        )
        closing.callback(self._docker.close)
        self._assemble = AssembleBuilder(
            env=environ,
            on_output=on_output,
            stop=stop,
            python=lambda: project_python(folder, environ),
            logins=logins,
        )
        closing.callback(self._assemble.close)
        self._info = _once(self._engine.info)
        self._answers = _once(lambda: _engine_answers(on_output))

    def select(self, _: BuildSpec | None) -> Builder:
        """The builder of an image."""
        return self._docker if self._with_docker() else self._assemble

    def build_platform(self) -> str:
        """The platform of the machine that builds. Raises what asking an engine raises."""
        if not self._with_docker():
            return str(Platform.here())
        try:
            info = self._info()
        except EngineUnreachable as error:
            error.help = f"{error.help}; `--builder assemble` needs no engine"
            raise
        return str(Platform.of(str(info["OSType"]), str(info["Architecture"])))

    def _with_docker(self) -> bool:
        return self._wanted is BuilderChoice.DOCKER or (
            self._wanted is BuilderChoice.AUTO and self._answers()
        )


def _engine_answers(on_output: OnOutput) -> bool:
    """Whether there is an engine; that there is none is told."""
    engine = Engine(patience=_PROBE_TIMEOUT)
    try:
        engine.info()
    except (EngineRefused, EngineUnreachable):
        on_output("images", "no container engine answers, so they are assembled without one")
        return False
    else:
        return True
    finally:
        engine.close()
