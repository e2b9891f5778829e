"""Fixtures for tests with real Prefect servers, registries and engines.

`server` runs a test on both majors, `prefect3` and `prefect2` on one. These servers are shared by
all tests of a process and never emptied: a test gives its objects names of their own. A test that
needs an empty server takes `fresh_server`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

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
    running,
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


LendServer: TypeAlias = Callable[[str], AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def _lend_server() -> Iterator[LendServer]:
    """Lend the shared server of a version; it is paused while no test uses it."""
    shared: dict[str, Server] = {}
    with ExitStack() as stack:

        @contextmanager
        def lend(version: str) -> Iterator[Server]:
            needs(version)
            if version not in shared:
                shared[version] = stack.enter_context(running(version))
            shared[version].resume()
            yield shared[version]
            shared[version].pause()

        yield lend


@pytest.fixture(scope="module")
def prefect3(_lend_server: LendServer) -> Iterator[Server]:
    """A running 3.x server, shared by all tests of the process."""
    with _lend_server(PREFECT_3) as server:
        yield server


@pytest.fixture(scope="module")
def prefect2(_lend_server: LendServer) -> Iterator[Server]:
    """A running 2.20 server, shared by all tests of the process."""
    with _lend_server(PREFECT_2) as server:
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


@pytest.fixture(scope="session")
def _idle_servers() -> Iterator[dict[tuple[str, str], list[Server]]]:
    """Paused servers that no test uses, by version and options."""
    by_options: dict[tuple[str, str], list[Server]] = {}
    yield by_options
    for servers in by_options.values():
        for server in servers:
            server.close()


@pytest.fixture
def fresh_server(_idle_servers: dict[tuple[str, str], list[Server]]) -> Iterator[FreshServer]:
    """`fresh_server(version, **options)` returns a running server without data.

    The options are those of `Server`. After the test the server is paused; the next test that asks
    for the same options gets it again, reset.
    """
    with ExitStack() as returns:

        def take(version: str, **options: Any) -> Server:
            needs(version)
            if options.get("database") == "postgres" and (reason := lacks_postgres()):
                pytest.skip(reason)
            idle = _idle_servers.setdefault((version, repr(sorted(options.items()))), [])
            server = idle.pop() if idle else Server(version, **options)
            returns.callback(idle.append, server)
            returns.callback(server.pause)
            server.resume()
            server.reset()
            if not server.is_running:
                server.start()
            return server

        yield take


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
