"""Client of the container engine: JSON in, JSON out. The only module that uses the docker library.

Every failure is an `EngineRefused` (the engine responded with an error) or an `EngineUnreachable`
(no response). The library's low-level client is used where possible, because it returns the
engine's own JSON; containers are created through the high-level one, whose arguments are what work
pools contain as `container_create_kwargs`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from docker import DockerClient

T = TypeVar("T")

_RESPONSE_TIMEOUT = 60
"""Seconds."""
_MAX_CONNECTIONS = 24
_MAX_LINE = 64 * 1024
"""Bytes that are kept of a line of output."""


class EngineRefused(DeployctlError):
    """The engine responded with an error."""

    code = "DC650"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the container engine refused ({status}): {redact(detail)}")
        self.status = status
        self.detail = redact(detail)


class EngineUnreachable(DeployctlError):
    """The engine did not respond, or not with a valid response."""

    code = "DC651"

    def __init__(self, address: str, reason: str) -> None:
        where = f" at '{address}'" if address else ""
        super().__init__(
            redact(f"the container engine{where} does not answer: {reason}"),
            help="Check that it runs, and that DOCKER_HOST or the Docker context points to it.",
        )


def _root_cause(error: BaseException) -> str:
    """The operating system's message, if there is one in the chain of errors."""
    from http.client import HTTPException

    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        if isinstance(below, HTTPException):
            return "the connection broke off"
        below = below.__cause__ or below.__context__
    return str(error)


@contextmanager
def _argument_errors(message: str) -> Iterator[None]:
    """Translates errors that docker-py raises for its arguments, before any request."""
    from docker.errors import APIError, DockerException

    try:
        yield
    except APIError:
        raise
    except (DockerException, TypeError, ValueError, AttributeError) as error:
        raise EngineRefused(400, f"{message}: {error}") from error


def _default_host() -> str | None:
    """The local engine, if neither the environment nor the Docker context names one."""
    from docker.context import ContextAPI

    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return None
    if ContextAPI.get_current_context() is not ContextAPI.DEFAULT_CONTEXT:
        return None
    return local_engine_url(os.environ, Path.exists)


def _configured_host() -> str:
    """The engine that the environment or the Docker context names."""
    from docker.context import ContextAPI

    return os.environ.get("DOCKER_HOST") or str(ContextAPI.get_current_context().Host)


def local_engine_url(env: Mapping[str, str], exists: Callable[[Path], bool]) -> str:
    """URL of the first local engine that exists: Docker, rootless Podman, Podman.

    Docker's if there is none, so that an error names it.
    """
    podman = "podman/podman.sock"
    rootless = [Path(folder) / podman] if (folder := env.get("XDG_RUNTIME_DIR")) else []
    sockets = [Path("/var/run/docker.sock"), *rootless, Path("/run") / podman]
    return f"unix://{next(filter(exists, sockets), sockets[0])}"


class Engine:
    """A container engine: that of DOCKER_HOST, of the Docker context, or the local one.

    Connects on first use. Thread-safe; every method raises EngineRefused and EngineUnreachable.
    """

    def __init__(self, host: str | None = None, *, timeout: float = _RESPONSE_TIMEOUT) -> None:
        """`host`: a URL as in DOCKER_HOST, which overrides the environment; `timeout`: seconds for
        which the engine may be silent during a request."""
        self._host = host
        self._timeout = timeout
        self._lock = threading.Lock()
        self._docker: DockerClient | None = None
        self._address = ""
        """URL of the engine, once it is determined."""

    def _client(self) -> DockerClient:
        with self._lock:
            if self._docker is None:
                import docker

                settings = {
                    "version": "auto",
                    "timeout": self._timeout,
                    "max_pool_size": _MAX_CONNECTIONS,
                }
                host = self._host or _default_host()
                self._address = host or _configured_host()
                if host:
                    self._docker = docker.DockerClient(base_url=host, **settings)
                else:
                    self._docker = docker.from_env(**settings)
            return self._docker

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translates errors of the docker library and of the libraries below it."""
        from docker.errors import APIError, DockerException
        from requests import RequestException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except APIError as error:
            detail = str(error.explanation or error)
            raise EngineRefused(error.status_code or 0, detail) from error
        except (DockerException, RequestException, HTTPError, OSError) as error:
            raise EngineUnreachable(self._address, _root_cause(error)) from error

    def _call(self, request: Callable[[Any], T]) -> T:
        """Calls the low-level client."""
        with self._translate_errors():
            return request(self._client().api)

    def close(self) -> None:
        """Closes all connections."""
        if self._docker is not None:
            self._docker.close()

    @property
    def url(self) -> str:
        """The engine's URL, as the library writes it."""
        return str(self._call(lambda api: api.base_url))

    def info(self) -> Json:
        """The engine's description: `ID`, `SystemTime`, `Name`, …"""
        return self._call(lambda api: api.info())

    def containers(self, labels: Sequence[str]) -> Sequence[Json]:
        """All containers with these labels (`name` or `name=value`), including exited ones."""
        return self._call(lambda api: api.containers(all=True, filters={"label": list(labels)}))

    def inspect(self, container: str) -> Json:
        """The description of a container by its id or name."""
        return self._call(lambda api: api.inspect_container(container))

    def create(self, **settings: Json) -> str:
        """Creates a container without starting it; returns its id.

        `settings` are those of docker-py's `containers.create`. Raises EngineRefused (400) also for
        an unknown setting.
        """
        with self._translate_errors():
            create = self._client().containers.create
            with _argument_errors("invalid setting of the container"):
                return str(create(**settings).id)

    def connect(self, container: str, network: str) -> None:
        """Connects a container to a network, unless it is connected."""
        try:
            self._call(lambda api: api.connect_container_to_network(container, network))
        except EngineRefused as error:
            if "already exists" not in error.detail:
                raise

    def start(self, container: str) -> None:
        """Starts a container, unless it runs."""
        self._call(lambda api: api.start(container))

    def remove(self, container: str, *, grace: float) -> None:
        """Stops a container and deletes it with its anonymous volumes, unless it is gone.

        Blocks for up to `grace` seconds, the time between SIGTERM and SIGKILL.
        """
        try:
            self._call(lambda api: api.stop(container, timeout=round(grace)))
            self._call(lambda api: api.remove_container(container, v=True, force=True))
        except EngineRefused as error:
            if error.status not in (404, 409):
                raise

    def log(
        self, container: str, *, since: float | None = None, lines: int | None = None
    ) -> Iterator[str]:
        """Yields the output of a container: lines that start with a UTC timestamp in nanoseconds.

        `since`: seconds since the epoch; `lines`: the number of last lines. Nothing if the logging
        driver of the container does not support reading. The output is read as it is consumed, and
        the end of a line of more than 64 KiB is left out.
        """
        tail = "all" if lines is None else lines
        try:
            stream = self._call(
                lambda api: api.logs(
                    container, timestamps=True, since=since, tail=tail, stream=True, follow=False
                )
            )
        except EngineRefused as error:
            if error.status in (404, 409, 501):
                return
            raise
        rest = b""
        with self._translate_errors(), closing(stream):
            for chunk in stream:
                *complete, rest = (rest + chunk).split(b"\n")
                yield from (line[:_MAX_LINE].decode(errors="replace") for line in complete)
                rest = rest[:_MAX_LINE]

    def events(self, labels: Sequence[str], since: float, until: float) -> Iterator[Json]:
        """Events of containers with these labels between two times of the engine's clock.

        `until` may be in the future: events are yielded as they happen until then.
        """
        filters = {"type": "container", "label": list(labels)}
        with self._translate_errors():
            stream = self._client().api.events(
                since=f"{since:.6f}", until=f"{until:.6f}", filters=filters, decode=True
            )
            try:
                yield from stream
            finally:
                stream.close()

    def image(self, image: str) -> Json | None:
        """The description of an image by its name or id; None if the engine does not have it."""
        try:
            return self._call(lambda api: api.inspect_image(image))
        except EngineRefused as error:
            if error.status == 404:
                return None
            raise

    def has_image(self, image: str) -> bool:
        """Whether the engine has this image."""
        return self.image(image) is not None

    def images(self, labels: Sequence[str]) -> Sequence[Json]:
        """All images with these labels (`name` or `name=value`)."""
        return self._call(lambda api: api.images(filters={"label": list(labels)}))

    def tag(self, image: str, name: str, tag: str) -> None:
        """Adds a name to an image; removes it from another image that has it."""
        self._call(lambda api: api.tag(image, name, tag))

    def pull(self, image: str, login: Mapping[str, str] | None) -> None:
        """Pulls an image. `login` has `username` and `password`; None for docker-py's own lookup in
        Docker's config.json.

        Raises EngineRefused with the registry's reason.
        """
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        auth = {name: login[name] for name in ("username", "password")} if login else None
        answers = self._call(
            lambda api: api.pull(
                repository, tag=tag or "latest", auth_config=auth, stream=True, decode=True
            )
        )
        with self._translate_errors():
            for answer in answers:
                if "error" in answer:
                    raise EngineRefused(404, str(answer["error"]))

    def build(self, context: BinaryIO, **options: Json) -> Iterator[Json]:
        """Builds an image from a tar archive; yields the engine's output records as they arrive.

        `options` are those of docker-py's `build`. A failed build ends with an `error` record;
        EngineRefused is raised for a build that does not start.
        """
        with self._translate_errors():
            build = self._client().api.build
            with _argument_errors("the build cannot start"):
                records = build(fileobj=context, custom_context=True, decode=True, **options)
            yield from records

    def push(self, name: str, tag: str, login: Mapping[str, str]) -> Iterator[Json]:
        """Pushes an image; yields the engine's output records as they arrive.

        `login` has `username` and `password`, or `identitytoken`, or nothing. A failed push ends
        with an `error` record.
        """
        with self._translate_errors():
            api = self._client().api
            yield from api.push(name, tag=tag, auth_config=dict(login), stream=True, decode=True)
