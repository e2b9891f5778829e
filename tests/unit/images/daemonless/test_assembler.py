"""Failures of a push without an engine."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.client import BlobTransfer
from deployctl.clients.registry.errors import Denied
from deployctl.images.context import ContextEntry
from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.distribution import Layer, Registries, ResolvedImage
from deployctl.images.model import BuildSpec
from deployctl.images.platform import Platform
from deployctl.images.reference import ImageReference
from deployctl.images.source import BuildSource


def test_denied_push_starts_no_further_layer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied: list[str] = []

    class DenyingClient:
        def push_blob(self, *_: Any) -> BlobTransfer:
            raise Denied("no")

    def copy(_: Registries, layer: Layer, *__: Any) -> BlobTransfer:
        copied.append(layer.digest)
        threading.Event().wait(0.1)
        return BlobTransfer.UPLOADED

    layers = tuple(Layer(f"sha256:{n}", 1, "application/x") for n in range(40))
    base = ResolvedImage(
        ImageReference.parse("base"),
        "sha256:b",
        "application/vnd.oci.image.manifest.v1+json",
        {"layers": []},
        {},
        layers,
        Platform("linux", "amd64"),
    )
    monkeypatch.setattr(Registries, "resolve", lambda *_: base)
    monkeypatch.setattr(Registries, "client", lambda *_: DenyingClient())
    monkeypatch.setattr(Registries, "copy", copy)
    entries: list[ContextEntry] = []
    builder = AssembleBuilder(env={"HOME": "/"}, on_output=lambda *_: None)
    try:
        source = BuildSource(tmp_path, "FROM base\n", None, "Dockerfile", entries)
        image = builder.build(BuildSpec("r.example/app", tmp_path, tag="1"), source, None)
        with pytest.raises(Denied):
            builder.push(image, ["1"], None)
    finally:
        builder.close()
    assert len(copied) < len(layers)
