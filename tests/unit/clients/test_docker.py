"""Failures of the engine client that a real engine cannot produce on demand."""

from __future__ import annotations

import http.client
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from deployctl.clients.docker import Engine, EngineRefused, EngineUnreachable, local_engine_url

HOST = "http://127.0.0.1:2375"
API = f"{HOST}/v1.47"


@pytest.mark.parametrize(
    ("sockets", "expected"),
    [
        (["/var/run/docker.sock", "/run/podman/podman.sock"], "/var/run/docker.sock"),
        (["/u/podman/podman.sock", "/run/podman/podman.sock"], "/u/podman/podman.sock"),
        (["/run/podman/podman.sock"], "/run/podman/podman.sock"),
        ([], "/var/run/docker.sock"),
    ],
)
def test_local_engine_is_docker_or_else_podman(sockets: list[str], expected: str) -> None:
    found = local_engine_url({"XDG_RUNTIME_DIR": "/u"}, lambda path: str(path) in sockets)
    assert found == f"unix://{expected}"


@pytest.fixture
def engine_responses() -> Iterator[responses.RequestsMock]:
    """Responses of an engine, starting with its version."""
    with responses.RequestsMock() as mock:
        mock.get(f"{HOST}/version", json={"ApiVersion": "1.47"})
        yield mock


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    opened = Engine(HOST)
    yield opened
    opened.close()


def build(engine: Engine, **options: Any) -> list[Any]:
    return list(engine.build(io.BytesIO(b"tar"), **options))


def test_interrupted_response_has_a_readable_message(
    engine: Engine, engine_responses: responses.RequestsMock
) -> None:
    broken = requests.exceptions.ChunkedEncodingError()
    broken.__context__ = http.client.IncompleteRead(b"")
    engine_responses.post(f"{API}/build", body=broken)
    with pytest.raises(EngineUnreachable, match="does not answer: the connection broke off"):
        build(engine)


@pytest.mark.parametrize("status", [404, 500])
def test_error_response_keeps_its_message(
    engine: Engine, engine_responses: responses.RequestsMock, status: int
) -> None:
    engine_responses.post(f"{API}/images/a/push", json={"message": "no such thing"}, status=status)
    with pytest.raises(EngineRefused, match="no such thing") as refused:
        list(engine.push("a", "1", {}))
    assert refused.value.status == status


def test_lost_connection_is_unreachable(
    engine: Engine, engine_responses: responses.RequestsMock
) -> None:
    engine_responses.post(f"{API}/images/a/push", body=requests.ConnectionError("reset by peer"))
    with pytest.raises(EngineUnreachable, match="reset by peer"):
        list(engine.push("a", "1", {}))


@pytest.mark.usefixtures("engine_responses")
def test_invalid_option_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineRefused, match="cannot start"):
        build(engine, unheard_of=1)


@pytest.mark.usefixtures("engine_responses")
def test_missing_credential_helper_is_named(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credHelpers": {"r.example": "none"}}')
    with (
        pytest.warns(UserWarning, match="docker-credential-none"),
        pytest.raises(EngineRefused, match="docker-credential-none"),
    ):
        build(engine)


def test_missing_image_is_none(engine: Engine, engine_responses: responses.RequestsMock) -> None:
    engine_responses.get(f"{API}/images/a:1/json", json={"message": "No such image"}, status=404)
    assert engine.image("a:1") is None
    assert not engine.has_image("a:1")


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ("http://127.0.0.1:9", None, "at 'http://127.0.0.1:9' does not answer: Connection refused"),
        (None, "tcp://127.0.0.1:9", "at 'tcp://127.0.0.1:9' does not answer: Connection refused"),
    ],
)
def test_unreachable_engine_is_named_with_its_address(
    given: str | None, named: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        monkeypatch.setenv("DOCKER_HOST", named)
    with pytest.raises(EngineUnreachable) as error:
        Engine(given).info()
    assert error.value.message == f"the container engine {message}"
