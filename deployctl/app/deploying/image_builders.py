"""Creates the image pipeline of a command: selects the builder and connects it to the project.

`--builder auto` is Docker if an engine responds, else the builder without an engine. No engine,
registry or interpreter is looked for before a step needs it.
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
from deployctl.flows.importer import find_prefect, project_python
from deployctl.images.builder import Builder, OnOutput
from deployctl.images.credentials import CredentialStore
from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.distribution import Registries
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import BuilderChoice, BuildSpec
from deployctl.images.pipeline import ImagePipeline
from deployctl.images.platform import Platform
from deployctl.images.reference import ImageReference
from deployctl.images.source import ProjectVersions

Args = TypeVarTuple("Args")
T = TypeVar("T")

_PROBE_TIMEOUT = 3.0
"""Seconds in which an engine must respond to be used by `--builder auto`."""
_LOOKUP_BACKOFF = Backoff(tries=3)
"""Lookups of existing images retry for about a second only."""
_BUILD_TIMEOUT = 600.0
"""Seconds for which an engine may be silent: a registry that it pushes to may take long."""
_DEFAULT_PYTHON = "3.11"
"""Python of the base image if the project has no interpreter with Prefect."""


def _once(function: Callable[[*Args], T]) -> Callable[[*Args], T]:
    """Caches a function by its arguments and serializes its calls."""
    results: dict[tuple[*Args], T] = {}
    lock = threading.Lock()

    def _cached(*args: *Args) -> T:
        with lock:
            if args not in results:
                results[args] = function(*args)
            return results[args]

    return _cached


@contextmanager
def open_image_pipeline(
    builder: BuilderChoice,
    folder: Path,
    environ: Mapping[str, str],
    server_version: Callable[[], str],
    on_output: OnOutput,
    stop: CancellationToken,
) -> Iterator[ImagePipeline]:
    """The image pipeline of a command that runs in `folder`.

    `server_version` returns the server's version, like `3.8.8` (the newest for Prefect Cloud). It
    is called only for `dockerfile: auto` in a project without its own Prefect.
    """
    with ExitStack() as closing:
        credentials = CredentialStore(environ)
        builders = _Builders(builder, folder, environ, on_output, stop, credentials, closing)
        registries = closing.enter_context(Registries(credentials, stop, backoff=_LOOKUP_BACKOFF))
        unreachable: set[str] = set()

        @_once
        def _resolve_digest(base: BaseImage) -> str | None:
            platform = Platform.parse(base.platform) if base.platform else None
            reference = ImageReference.parse(base.image)
            if reference.registry in unreachable:
                return None
            try:
                return registries.resolve(reference, platform).digest
            except RegistryUnreachable as error:
                unreachable.add(reference.registry)
                on_output("images", f"{error.message}; images based on its images are rebuilt")
            except RegistryError:
                pass
            return None

        @_once
        def _versions() -> ProjectVersions:
            if found := find_prefect(folder, environ):
                return ProjectVersions(str(found.prefect), found.python)
            return ProjectVersions(server_version(), _DEFAULT_PYTHON)

        yield ImagePipeline(
            builders.select, _resolve_digest, _versions, builders.build_platform, credentials
        )


class _Builders:
    """Creates both builders and selects one; probes for an engine on first use."""

    def __init__(
        self,
        choice: BuilderChoice,
        folder: Path,
        environ: Mapping[str, str],
        on_output: OnOutput,
        stop: CancellationToken,
        credentials: CredentialStore,
        closing: ExitStack,
    ) -> None:
        self._choice = choice
        self._engine = Engine(timeout=_BUILD_TIMEOUT)
        closing.callback(self._engine.close)
        self._docker = DockerBuilder(
            self._engine,
            env=environ,
            on_output=on_output,
            cancellation=stop,
            credentials=credentials,
        )
        closing.callback(self._docker.close)
        self._assemble = AssembleBuilder(
            env=environ,
            on_output=on_output,
            cancellation=stop,
            python=lambda: project_python(folder, environ),
            credentials=credentials,
        )
        closing.callback(self._assemble.close)
        self._info = _once(self._engine.info)
        self._engine_found = _once(lambda: _probe_engine(on_output))

    def select(self, _: BuildSpec | None) -> Builder:
        """The builder of an image."""
        return self._docker if self._uses_docker() else self._assemble

    def build_platform(self) -> str:
        """The platform of the machine that builds. Raises EngineRefused, EngineUnreachable."""
        if not self._uses_docker():
            return str(Platform.here())
        try:
            info = self._info()
        except EngineUnreachable as error:
            error.help = f"{error.help} Or use `--builder assemble`, which needs no engine."
            raise
        return str(Platform.of(str(info["OSType"]), str(info["Architecture"])))

    def _uses_docker(self) -> bool:
        return self._choice is BuilderChoice.DOCKER or (
            self._choice is BuilderChoice.AUTO and self._engine_found()
        )


def _probe_engine(on_output: OnOutput) -> bool:
    """Whether an engine responds; reports it if none does."""
    engine = Engine(timeout=_PROBE_TIMEOUT)
    try:
        engine.info()
    except (EngineRefused, EngineUnreachable):
        on_output("images", "no container engine answers, so images are assembled without one")
        return False
    else:
        return True
    finally:
        engine.close()
