"""What is known of the images that others begin from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from deployctl.app.deploying.image_builders import open_image_pipeline
from deployctl.clients.docker import Engine, EngineUnreachable
from deployctl.clients.registry.errors import NotInRegistry, RegistryError, RegistryUnreachable
from deployctl.core.cancellation import CancellationToken
from deployctl.images.distribution import Registries
from deployctl.images.dockerfile.stages import BaseImage
from deployctl.images.model import BuilderChoice
from deployctl.images.pipeline import ImagePipeline
from deployctl.images.reference import Reference


class Looked:
    """What registries were asked for, and what was told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told: list[str] = []
        self.error: RegistryError = RegistryUnreachable("nobody is there")
        self.another = threading.Barrier(1)
        """Where whoever asks waits a moment for others who do."""

    def resolve(self, _: Registries, reference: Reference, platform: object) -> None:  # noqa: ARG002
        self.asked.append(str(reference))
        with suppress(threading.BrokenBarrierError):
            self.another.wait(0.1)
        raise self.error


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    made = Looked()
    monkeypatch.setattr(Registries, "resolve", lambda *arguments: Looked.resolve(made, *arguments))
    return made


@pytest.fixture
def images(looked: Looked, tmp_path: Path) -> Iterator[ImagePipeline]:
    def tell(_: str, line: str) -> None:
        looked.told.append(line)

    environ = {"HOME": str(tmp_path)}
    with open_image_pipeline(
        BuilderChoice.ASSEMBLE, tmp_path, environ, str, tell, CancellationToken()
    ) as made:
        yield made


def test_a_build_without_its_engine_is_told_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def info(_: Engine) -> None:
        raise EngineUnreachable("", "nobody is there")

    monkeypatch.setattr(Engine, "info", info)
    with (
        open_image_pipeline(
            BuilderChoice.DOCKER, tmp_path, {"HOME": "/"}, str, print, CancellationToken()
        ) as made,
        pytest.raises(EngineUnreachable) as raised,
    ):
        made.build_platform()
    assert "`--builder assemble`" in str(raised.value.help)


def test_a_registry_that_does_not_answer_is_asked_once(
    images: ImagePipeline, looked: Looked
) -> None:
    for name in ("r.example/a:1", "r.example/b:1", "other.example/c:1"):
        assert images.resolve_digest(BaseImage(name, None)) is None
    assert looked.asked == ["r.example/a:1", "other.example/c:1"]
    assert looked.told == ["nobody is there; images based on its images are rebuilt"] * 2


def test_threads_that_want_to_know_the_same_ask_once(images: ImagePipeline, looked: Looked) -> None:
    looked.another = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        assert (
            list(threads.map(images.resolve_digest, [BaseImage("r.example/a:1", None)] * 2))
            == [None] * 2
        )
    assert looked.asked == ["r.example/a:1"]


def test_an_image_that_is_not_there_says_nothing_of_others(
    images: ImagePipeline, looked: Looked
) -> None:
    looked.error = NotInRegistry("not there")
    for name in ("r.example/a:1", "r.example/b:1"):
        assert images.resolve_digest(BaseImage(name, None)) is None
    assert len(looked.asked) == 2
    assert looked.told == []
