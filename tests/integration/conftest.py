"""Fixtures for tests with real Prefect servers, registries and engines.

`server` runs a test on both majors, `prefect3` and `prefect2` on one. These servers are shared by
all tests of a file: a test gives its objects names of their own. A test that needs an empty server
takes `fresh_server`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.support.api import Api
from tests.support.databases import lacks_postgres
from tests.support.docker_engine import DockerEngine
from tests.support.docker_engine import lacks as lacks_engine
from tests.support.environment import isolated
from tests.support.in_process import run_in_process
from tests.support.prefect_cli import CommandResult, PrefectCli, run_program
from tests.support.project_harness import ProjectHarness
from tests.support.proxy import Proxy
from tests.support.registry import LocalRegistry
from tests.support.registry import lacks as lacks_registry
from tests.support.servers import (
    PREFECT_2,
    PREFECT_3,
    Server,
    interpreter,
    is_installed,
    make_target,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.integration)


def needs(version: str) -> None:
    """Skip the test if this version of Prefect is not installed."""
    if not is_installed(version):
        pytest.skip(f"Prefect {version} is not installed; run `make {make_target(version)}`")


class ServerPool:
    """The servers of a test process. One that no test uses is paused."""

    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, str], list[Server]] = defaultdict(list)

    @contextmanager
    def lend(self, version: str, **options: Any) -> Iterator[Server]:
        """Lend a running server without data; the options are those of `Server`.

        It is a reset one if one with the same options is idle.
        """
        needs(version)
        if options.get("database") == "postgres" and (reason := lacks_postgres()):
            pytest.skip(reason)
        idle = self._idle[version, repr(sorted(options.items()))]
        server = idle.pop() if idle else Server(version, **options)
        try:
            server.resume()
            server.reset()
            if not server.is_running:
                server.start()
            yield server
        finally:
            server.pause()
            idle.append(server)

    def close(self) -> None:
        """Stop the idle servers."""
        for servers in self._idle.values():
            for server in servers:
                server.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerPool]:
    """The servers of this test process."""
    pool = ServerPool()
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def prefect3(servers: ServerPool) -> Iterator[Server]:
    """A running 3.x server, shared by all tests of a file."""
    with servers.lend(PREFECT_3) as server:
        yield server


@pytest.fixture(scope="module")
def prefect2(servers: ServerPool) -> Iterator[Server]:
    """A running 2.20 server, shared by all tests of a file."""
    with servers.lend(PREFECT_2) as server:
        yield server


@pytest.fixture(scope="module", params=["prefect3", "prefect2"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the two shared servers in turn."""
    shared: Server = request.getfixturevalue(request.param)
    return shared


@pytest.fixture(scope="session")
def prefect3_python() -> Path:
    """The interpreter of an environment with Prefect 3.x."""
    needs(PREFECT_3)
    return interpreter(PREFECT_3)


@pytest.fixture(scope="session")
def prefect2_python() -> Path:
    """The interpreter of an environment with Prefect 2.20."""
    needs(PREFECT_2)
    return interpreter(PREFECT_2)


class FreshServer(Protocol):
    """The type of the fixture `fresh_server`."""

    def __call__(self, version: str, **options: Any) -> Server: ...


@pytest.fixture
def fresh_server(servers: ServerPool) -> Iterator[FreshServer]:
    """`fresh_server(version, **options)` lends a running server without data for one test."""
    with ExitStack() as lent:
        yield lambda version, **options: lent.enter_context(servers.lend(version, **options))


@pytest.fixture
def proxy() -> Iterator[Callable[[Server], Proxy]]:
    """`proxy(server)` starts a `Proxy` in front of the server."""
    with ExitStack() as open_proxies:
        yield lambda server: open_proxies.enter_context(Proxy(server.api_url))


@pytest.fixture
def prefect_cli(tmp_path: Path) -> Callable[[Server], PrefectCli]:
    """`prefect_cli(server)` returns the real `prefect` command, configured for the server."""
    return lambda server: PrefectCli(server, tmp_path / "prefect-home")


class Cli(Protocol):
    """The type of the fixtures `cli` and `in_process_cli`."""

    def __call__(
        self, *args: str, cwd: Path, api_url: str | None = None, **env: str
    ) -> CommandResult: ...


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """`cli("deploy", "--all", cwd=folder, api_url=…)` runs deployctl as a process."""
    program = str(Path(sys.executable).with_name("deployctl"))
    return _cli(run_program, [program], tmp_path_factory.mktemp("home"))


@pytest.fixture
def in_process_cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The same as `cli`, but in the process of the test, which is four times faster."""
    return _cli(run_in_process, [], tmp_path_factory.mktemp("home"))


def _cli(start: Callable[..., CommandResult], program: list[str], home: Path) -> Cli:
    def run(*args: str, cwd: Path, api_url: str | None = None, **env: str) -> CommandResult:
        url = {"PREFECT_API_URL": api_url} if api_url else {}
        return start([*program, *args], cwd=cwd, env=isolated(home, **url, **env))

    return run


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def project(
    request: pytest.FixtureRequest, fresh_server: FreshServer, in_process_cli: Cli, tmp_path: Path
) -> Iterator[ProjectHarness]:
    """A project folder and an empty server with a work pool `pool`, on each major in turn."""
    server = fresh_server(request.param)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        yield ProjectHarness(tmp_path, api, proxy, in_process_cli, server.major, server.api_url)


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    """A running Docker Engine, shared by the tests of a file, which list all its images."""
    if reason := lacks_engine():
        pytest.skip(reason)
    with DockerEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def registry() -> Iterator[LocalRegistry]:
    """A registry without login, shared by all tests: each uses a repository of its own name."""
    if reason := lacks_registry():
        pytest.skip(reason)
    with LocalRegistry() as local:
        yield local


@pytest.fixture(scope="session")
def closed_registry() -> Iterator[LocalRegistry]:
    """A registry that requires a user name and a password."""
    if reason := lacks_registry():
        pytest.skip(reason)
    with LocalRegistry(basic=True) as local:
        yield local
