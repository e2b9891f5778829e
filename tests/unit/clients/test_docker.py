"""The container engine's client where a real engine cannot be made to fail that way."""

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
    ("there", "expected"),
    [
        (["/var/run/docker.sock", "/run/podman/podman.sock"], "/var/run/docker.sock"),
        (["/u/podman/podman.sock", "/run/podman/podman.sock"], "/u/podman/podman.sock"),
        (["/run/podman/podman.sock"], "/run/podman/podman.sock"),
        ([], "/var/run/docker.sock"),
    ],
)
def test_the_engine_of_a_machine_is_docker_or_else_podman(there: list[str], expected: str) -> None:
    found = local_engine_url({"XDG_RUNTIME_DIR": "/u"}, lambda path: str(path) in there)
    assert found == f"unix://{expected}"


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    """The answers of an engine, which tells its version to begin with."""
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


def test_an_answer_that_breaks_off_is_told_in_plain_words(
    engine: Engine, answers: responses.RequestsMock
) -> None:
    broken = requests.exceptions.ChunkedEncodingError()
    broken.__context__ = http.client.IncompleteRead(b"")
    answers.post(f"{API}/build", body=broken)
    with pytest.raises(EngineUnreachable, match="does not answer: the connection broke off"):
        build(engine)


@pytest.mark.parametrize("status", [404, 500])
def test_an_answer_of_no_is_a_refusal_with_its_words(
    engine: Engine, answers: responses.RequestsMock, status: int
) -> None:
    answers.post(f"{API}/images/a/push", json={"message": "no such thing"}, status=status)
    with pytest.raises(EngineRefused, match="no such thing") as refused:
        list(engine.push("a", "1", {}))
    assert refused.value.status == status


def test_a_connection_that_breaks_is_no_answer(
    engine: Engine, answers: responses.RequestsMock
) -> None:
    answers.post(f"{API}/images/a/push", body=requests.ConnectionError("reset by peer"))
    with pytest.raises(EngineUnreachable, match="reset by peer"):
        list(engine.push("a", "1", {}))


@pytest.mark.usefixtures("answers")
def test_an_option_that_makes_no_sense_is_a_refusal(engine: Engine) -> None:
    with pytest.raises(EngineRefused, match="cannot begin"):
        build(engine, unheard_of=1)


@pytest.mark.usefixtures("answers")
def test_a_helper_for_logins_that_is_missing_is_said(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"credHelpers": {"r.example": "none"}}')
    with (
        pytest.warns(UserWarning, match="docker-credential-none"),
        pytest.raises(EngineRefused, match="docker-credential-none"),
    ):
        build(engine)


def test_an_image_that_is_not_there_is_none(
    engine: Engine, answers: responses.RequestsMock
) -> None:
    answers.get(f"{API}/images/a:1/json", json={"message": "No such image"}, status=404)
    assert engine.image("a:1") is None
    assert not engine.has_image("a:1")


@pytest.mark.parametrize(
    ("given", "named", "message"),
    [
        ("http://127.0.0.1:9", None, "at 'http://127.0.0.1:9' does not answer: Connection refused"),
        (None, "tcp://127.0.0.1:9", "at 'tcp://127.0.0.1:9' does not answer: Connection refused"),
    ],
)
def test_an_engine_that_is_not_there_is_told_with_its_address(
    given: str | None, named: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        monkeypatch.setenv("DOCKER_HOST", named)
    with pytest.raises(EngineUnreachable) as error:
        Engine(given).info()
    assert error.value.message == f"the container engine {message}"
