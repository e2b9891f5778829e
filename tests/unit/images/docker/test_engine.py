"""Failures of the engine builder that need no engine."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import pytest

from deployctl.clients.docker import Engine
from deployctl.images.docker.engine import DockerBuilder
from deployctl.images.docker.engine_errors import BuildFailed
from deployctl.images.model import BuildSpec
from deployctl.images.source import ProjectVersions, read_source


def test_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "wb"))
    builder = DockerBuilder(Engine("unix:///nonexistent"), env={}, on_output=lambda *_: None)
    spec = BuildSpec("app", tmp_path)
    with pytest.raises(BuildFailed, match="No space left on device") as failed:
        builder.build(spec, read_source(spec, lambda: ProjectVersions("3", "3")), None)
    assert "TMPDIR" in str(failed.value.help)
    builder.close()
