"""The container engine, JSON in and JSON out, and the only place that knows the docker library.

Whatever goes wrong becomes `EngineRefused` for an answer or `EngineUnreachable` for none. The
library's low-level client is used wherever it will do, because it gives the engine's own JSON;
containers are created through its high-level one, whose arguments are what pools hold in
`container_create_kwargs`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

if TYPE_CHECKING:
    from docker import DockerClient

T = TypeVar("T")

_ANSWER_SECONDS = 60
_CONNECTIONS = 24


class EngineRefused(DeployctlError):
    """The engine answered, and not with what was asked for."""

    code = "DC650"

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"the container engine refused ({status}): {redact(detail)}")
        self.status = status
        self.detail = redact(detail)


class EngineUnreachable(DeployctlError):
    """The engine gave no answer, or none that is one."""

    code = "DC651"

    def __init__(self, address: str, reason: str) -> None:
        where = f" at '{address}'" if address else ""
        super().__init__(
            redact(f"the container engine{where} does not answer: {reason}"),
            help="see that it runs, and that DOCKER_HOST or the Docker context names it",
        )


def _root_cause(error: BaseException) -> str:
    """The system's own word, where there is one below what the libraries say."""
    from http.client import HTTPException

    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            return below.strerror
        if isinstance(below, HTTPException):
            return "the connection broke off"
        below = below.__cause__ or below.__context__
    return str(error)


def _default_host() -> str | None:
    """The engine of this machine, where neither environment nor Docker context name one."""
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
    """The URL of the first engine of a machine that is there: Docker, Podman of this user, Podman.

    Docker's if there is none, so that it is what an error names.
    """
    podman = "podman/podman.sock"
    mine = [Path(folder) / podman] if (folder := env.get("XDG_RUNTIME_DIR")) else []
    sockets = [Path("/var/run/docker.sock"), *mine, Path("/run") / podman]
    return f"unix://{next(filter(exists, sockets), sockets[0])}"


class Engine:
    """One container engine: that of DOCKER_HOST, of the Docker context, or this machine's own.

    It is connected to when it is first needed. Every method may be called from any thread, and
    raises EngineRefused and EngineUnreachable.
    """

    def __init__(self, host: str | None = None, *, patience: float = _ANSWER_SECONDS) -> None:
        """`host`: a URL as in DOCKER_HOST, instead of what the environment says; `patience`:
        how many seconds the engine may be silent while it is asked for something."""
        self._host = host
        self._patience = patience
        self._connecting = threading.Lock()
        self._connected: DockerClient | None = None
        self._address = ""
        """Where it is looked for, once that is known."""

    def _client(self) -> DockerClient:
        with self._connecting:
            if self._connected is None:
                import docker

                settings = {
                    "version": "auto",
                    "timeout": self._patience,
                    "max_pool_size": _CONNECTIONS,
                }
                host = self._host or _default_host()
                self._address = host or _configured_host()
                if host:
                    self._connected = docker.DockerClient(base_url=host, **settings)
                else:
                    self._connected = docker.from_env(**settings)
            return self._connected

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Whatever the library and those below it raise becomes one of ours."""
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

    def _ask(self, question: Callable[[Any], T]) -> T:
        """Asks through the low-level client."""
        with self._translated():
            return question(self._client().api)

    def close(self) -> None:
        """Gives the connections back."""
        if self._connected is not None:
            self._connected.close()

    @property
    def url(self) -> str:
        """Where the engine is, as the library writes it."""
        return str(self._ask(lambda api: api.base_url))

    def info(self) -> Json:
        """What the engine says of itself: `ID`, `SystemTime`, `Name`, …"""
        return self._ask(lambda api: api.info())

    def containers(self, labels: Sequence[str]) -> Sequence[Json]:
        """All containers, also ended ones, that have these labels (`name` or `name=value`)."""
        return self._ask(lambda api: api.containers(all=True, filters={"label": list(labels)}))

    def inspect(self, container: str) -> Json:
        """A container by its id or name."""
        return self._ask(lambda api: api.inspect_container(container))

    def create(self, **settings: Json) -> str:
        """Creates a container, which does not run yet, and gives its id.

        `settings` are those of docker-py's `containers.create`. Raises EngineRefused (400) also for
        a setting that it does not know.
        """
        from docker.errors import APIError, DockerException

        with self._translated():
            create = self._client().containers.create
            try:
                return str(create(**settings).id)
            except APIError:
                raise
            except (DockerException, TypeError, ValueError, AttributeError) as error:
                detail = f"a setting of the container is unusable: {error}"
                raise EngineRefused(400, detail) from error

    def connect(self, container: str, network: str) -> None:
        """Connects a container with one more network; one that it is in already is fine."""
        try:
            self._ask(lambda api: api.connect_container_to_network(container, network))
        except EngineRefused as error:
            if "already exists" not in error.detail:
                raise

    def start(self, container: str) -> None:
        """Starts a container; one that runs already is fine."""
        self._ask(lambda api: api.start(container))

    def remove(self, container: str, *, grace: float) -> None:
        """Ends a container and deletes it with its anonymous volumes; one that is gone is fine.

        Between SIGTERM and SIGKILL it has `grace` seconds, for which this waits.
        """
        try:
            self._ask(lambda api: api.stop(container, timeout=round(grace)))
            self._ask(lambda api: api.remove_container(container, v=True, force=True))
        except EngineRefused as error:
            if error.status not in (404, 409):
                raise

    def log(
        self, container: str, *, since: float | None = None, lines: int | None = None
    ) -> Sequence[str]:
        """What a container printed: lines that begin with their time, in UTC with nanoseconds.

        `since`: seconds of the epoch, `lines`: how many of the last ones. Empty where the engine
        does not keep what is printed.
        """
        tail = "all" if lines is None else lines
        try:
            text: bytes = self._ask(
                lambda api: api.logs(container, timestamps=True, since=since, tail=tail)
            )
        except EngineRefused as error:
            if error.status in (404, 409, 501):
                return []
            raise
        return text.decode(errors="replace").split("\n")[:-1]

    def events(self, labels: Sequence[str], since: float, until: float) -> Iterator[Json]:
        """What happened to containers with these labels between two times of the engine's clock.

        `until` may be in the future: this waits for it, and gives events as they happen.
        """
        filters = {"type": "container", "label": list(labels)}
        with self._translated():
            stream = self._client().api.events(
                since=f"{since:.6f}", until=f"{until:.6f}", filters=filters, decode=True
            )
            try:
                yield from stream
            finally:
                stream.close()

    def image(self, image: str) -> Json | None:
        """What the engine knows of an image by its name or id; None if it has none."""
        try:
            return self._ask(lambda api: api.inspect_image(image))
        except EngineRefused as error:
            if error.status == 404:
                return None
            raise

    def has_image(self, image: str) -> bool:
        """Whether the engine has this image."""
        return self.image(image) is not None

    def images(self, labels: Sequence[str]) -> Sequence[Json]:
        """All images that have these labels (`name` or `name=value`)."""
        return self._ask(lambda api: api.images(filters={"label": list(labels)}))

    def tag(self, image: str, name: str, tag: str) -> None:
        """Gives an image one more name; another image loses it."""
        self._ask(lambda api: api.tag(image, name, tag))

    def pull(self, image: str, login: Mapping[str, str] | None) -> None:
        """Fetches an image; `login` has `username` and `password`. None: the machine's own login.

        Raises EngineRefused with the registry's reason.
        """
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        auth = {name: login[name] for name in ("username", "password")} if login else None
        answers = self._ask(
            lambda api: api.pull(
                repository, tag=tag or "latest", auth_config=auth, stream=True, decode=True
            )
        )
        with self._translated():
            for answer in answers:
                if "error" in answer:
                    raise EngineRefused(404, str(answer["error"]))

    def build(self, context: BinaryIO, **options: Json) -> Iterator[Json]:
        """Builds an image from a tar archive; gives what the engine tells of it, as it comes.

        `options` are those of docker-py's `build`. A failure is the last that is told (`error`);
        EngineRefused is raised for what the engine does not even begin.
        """
        from docker.errors import APIError, DockerException

        with self._translated():
            build = self._client().api.build
            try:
                told = build(fileobj=context, custom_context=True, decode=True, **options)
            except APIError:
                raise
            except (DockerException, TypeError, ValueError, AttributeError) as error:
                raise EngineRefused(400, f"the build cannot begin: {error}") from error
            yield from told

    def push(self, name: str, tag: str, login: Mapping[str, str]) -> Iterator[Json]:
        """Puts an image into its registry; gives what the engine tells of it, as it comes.

        `login` has `username` and `password`, or `identitytoken`, or nothing. A failure is the last
        that is told (`error`).
        """
        with self._translated():
            api = self._client().api
            yield from api.push(name, tag=tag, auth_config=dict(login), stream=True, decode=True)
