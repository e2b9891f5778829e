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
from deployctl.images.reference import ImageReference


class FakeRegistry:
    """A registry that fails; records what it was asked for and what was reported."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.reported: list[str] = []
        self.error: RegistryError = RegistryUnreachable("no answer")
        self.another = threading.Barrier(1)
        """Makes concurrent look-ups overlap."""

    def resolve(self, _: Registries, reference: ImageReference, platform: object) -> None:  # noqa: ARG002
        self.asked.append(str(reference))
        with suppress(threading.BrokenBarrierError):
            self.another.wait(0.1)
        raise self.error


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    created = FakeRegistry()
    monkeypatch.setattr(
        Registries, "resolve", lambda *arguments: FakeRegistry.resolve(created, *arguments)
    )
    return created


@pytest.fixture
def images(registry: FakeRegistry, tmp_path: Path) -> Iterator[ImagePipeline]:
    def report(_: str, line: str) -> None:
        registry.reported.append(line)

    environ = {"HOME": str(tmp_path)}
    with open_image_pipeline(
        BuilderChoice.ASSEMBLE, tmp_path, environ, str, report, CancellationToken()
    ) as created:
        yield created


def test_missing_engine_is_reported_with_builder_that_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def info(_: Engine) -> None:
        raise EngineUnreachable("", "no answer")

    monkeypatch.setattr(Engine, "info", info)
    with (
        open_image_pipeline(
            BuilderChoice.DOCKER, tmp_path, {"HOME": "/"}, str, print, CancellationToken()
        ) as created,
        pytest.raises(EngineUnreachable) as raised,
    ):
        created.build_platform()
    assert "`--builder assemble`" in str(raised.value.help)


def test_unreachable_registry_is_asked_once(images: ImagePipeline, registry: FakeRegistry) -> None:
    for name in ("r.example/a:1", "r.example/b:1", "other.example/c:1"):
        assert images.resolve_digest(BaseImage(name, None)) is None
    assert registry.asked == ["r.example/a:1", "other.example/c:1"]
    assert registry.reported == ["no answer; images based on its images are rebuilt"] * 2


def test_concurrent_lookups_of_one_image_ask_once(
    images: ImagePipeline, registry: FakeRegistry
) -> None:
    registry.another = threading.Barrier(2)
    with ThreadPoolExecutor(2) as threads:
        assert (
            list(threads.map(images.resolve_digest, [BaseImage("r.example/a:1", None)] * 2))
            == [None] * 2
        )
    assert registry.asked == ["r.example/a:1"]


def test_missing_image_has_no_effect_on_others(
    images: ImagePipeline, registry: FakeRegistry
) -> None:
    registry.error = NotInRegistry("not there")
    for name in ("r.example/a:1", "r.example/b:1"):
        assert images.resolve_digest(BaseImage(name, None)) is None
    assert len(registry.asked) == 2
    assert registry.reported == []
