"""Servers, a proxy and the command line for tests that use the real thing.

`server` runs a test on both majors; `prefect3` and `prefect2` on one. They are shared by all tests
and never emptied, so a test names its objects after itself; one that needs an empty server takes
`fresh_server`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pytest

from tests.support.api import Api
from tests.support.docker_engine import DockerEngine
from tests.support.docker_engine import lacks as lacks_engine
from tests.support.environment import isolated
from tests.support.in_process import run_in_process
from tests.support.prefect_cli import CommandResult, PrefectCli, run_program
from tests.support.project_harness import ProjectHarness
from tests.support.proxy import Proxy
from tests.support.registry import LocalRegistry
from tests.support.registry import lacks as lacks_registry
from tests.support.servers import PREFECT_2, PREFECT_3, Server, interpreter, is_installed, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)


def needs(version: str) -> None:
    """Skips the test where this version of Prefect is not installed."""
    if not is_installed(version):
        pytest.skip(f"Prefect {version} is not installed; `make servers` does it")


Lent: TypeAlias = Callable[[str], AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def _lent() -> Iterator[Lent]:
    """Lends the shared server of a version; it sleeps while nobody has it."""
    shared: dict[str, Server] = {}
    with ExitStack() as running_ones:

        @contextmanager
        def lend(version: str) -> Iterator[Server]:
            needs(version)
            if version not in shared:
                shared[version] = running_ones.enter_context(running(version))
            shared[version].resume()
            yield shared[version]
            shared[version].pause()

        yield lend


@pytest.fixture(scope="module")
def prefect3(_lent: Lent) -> Iterator[Server]:
    """A running 3.x server, shared by all tests."""
    with _lent(PREFECT_3) as server:
        yield server


@pytest.fixture(scope="module")
def prefect2(_lent: Lent) -> Iterator[Server]:
    """A running 2.20 server, shared by all tests."""
    with _lent(PREFECT_2) as server:
        yield server


@pytest.fixture(scope="module", params=["prefect3", "prefect2"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each of the shared servers in turn."""
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
    def __call__(self, version: str, **options: Any) -> Server: ...


@pytest.fixture(scope="session")
def _pool() -> Iterator[dict[tuple[str, str], list[Server]]]:
    """Servers that no test is using, by version and options."""
    idle: dict[tuple[str, str], list[Server]] = {}
    yield idle
    for servers in idle.values():
        for server in servers:
            server.close()


@pytest.fixture
def fresh_server(_pool: dict[tuple[str, str], list[Server]]) -> Iterator[FreshServer]:
    """`fresh_server(version, **options of Server)` gives a running server without data.

    A server goes back when its test ends, sleeps, and serves the next test with the same options,
    reset.
    """
    with ExitStack() as returns:

        def take(version: str, **options: Any) -> Server:
            needs(version)
            idle = _pool.setdefault((version, repr(sorted(options.items()))), [])
            server = idle.pop() if idle else Server(version, **options)
            returns.callback(idle.append, server)
            returns.callback(server.pause)
            server.resume()
            if server.is_running:
                server.reset()
            else:
                server.database.unlink(missing_ok=True)
                server.start()
            return server

        yield take


@pytest.fixture
def proxy() -> Iterator[Callable[[Server], Proxy]]:
    """`proxy(server)` gives a `Proxy` in front of the server."""
    with ExitStack() as open_proxies:
        yield lambda server: open_proxies.enter_context(Proxy(server.api_url))


@pytest.fixture
def prefect_cli(tmp_path: Path) -> Callable[[Server], PrefectCli]:
    """`prefect_cli(server)` gives the real `prefect` command for the server."""
    return lambda server: PrefectCli(server, tmp_path / "prefect-home")


class Cli(Protocol):
    def __call__(
        self, *args: str, cwd: Path, api_url: str | None = None, **env: str
    ) -> CommandResult: ...


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """`cli("deploy", "--all", cwd=folder, api_url=…)` runs deployctl and tells how it ended."""
    program = str(Path(sys.executable).with_name("deployctl"))
    return _cli(run_program, [program], tmp_path_factory.mktemp("home"))


@pytest.fixture
def in_process_cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """As `cli`, in the process of the test."""
    return _cli(run_in_process, [], tmp_path_factory.mktemp("home"))


def _cli(start: Callable[..., CommandResult], begin: list[str], home: Path) -> Cli:
    def run(*args: str, cwd: Path, api_url: str | None = None, **env: str) -> CommandResult:
        url = {"PREFECT_API_URL": api_url} if api_url else {}
        return start([*begin, *args], cwd=cwd, env=isolated(home, **url, **env))

    return run


@pytest.fixture(params=[PREFECT_3, PREFECT_2])
def project(
    request: pytest.FixtureRequest, fresh_server: FreshServer, in_process_cli: Cli, tmp_path: Path
) -> Iterator[ProjectHarness]:
    server = fresh_server(request.param)
    with Api(server.api_url) as api, Proxy(server.api_url) as proxy:
        api.pool("pool")
        yield ProjectHarness(tmp_path, api, proxy, in_process_cli, server.major, server.api_url)


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    """A running engine, shared by the tests of a file: they look at all its images."""
    if reason := lacks_engine():
        pytest.skip(reason)
    with DockerEngine() as engine:
        yield engine


@pytest.fixture(scope="session")
def registry() -> Iterator[LocalRegistry]:
    """A registry that wants no login, shared by all tests: repositories are named after them."""
    if reason := lacks_registry():
        pytest.skip(reason)
    with LocalRegistry() as made:
        yield made


@pytest.fixture(scope="session")
def closed_registry() -> Iterator[LocalRegistry]:
    """A registry that wants a name and a password."""
    if reason := lacks_registry():
        pytest.skip(reason)
    with LocalRegistry(basic=True) as made:
        yield made
