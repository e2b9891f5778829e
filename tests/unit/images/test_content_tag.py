"""Content tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.images.content_tag import content_tag
from deployctl.images.context import walk_context
from deployctl.images.dockerfile.parser import parse
from deployctl.images.dockerfile.stages import BadDockerfile, BaseImage
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.model import BuildSpec

DOCKERFILE = """\
ARG VERSION=3
FROM python:$VERSION AS build
RUN make
FROM slim
ARG USED
COPY --from=build /out /out
COPY . /app
"""


@pytest.fixture
def spec(tmp_path: Path) -> BuildSpec:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/flow.py").write_text("a")
    (tmp_path / "link").symlink_to("src")
    return BuildSpec("x.io/app", tmp_path)


def tag(
    spec: BuildSpec,
    text: str = DOCKERFILE,
    *,
    ignore: str = "",
    digest_of: Callable[[BaseImage], str | None] = lambda base: f"sha256:{base.image}",
) -> str | None:
    found = walk_context(spec.context, DockerIgnore(ignore.split()))
    return content_tag(spec, parse(text), text, found, digest_of, "linux/amd64")


def test_same_inputs_have_the_same_tag(spec: BuildSpec) -> None:
    first = tag(spec)
    assert re.fullmatch("content-[0-9a-f]{20}", first or "")
    (spec.context / "src/flow.py").touch()
    assert tag(replace(spec, name="y.io/other", tag="1", additional_tags=("2",))) == first


@pytest.mark.parametrize(
    "change",
    [
        {"build_args": {"USED": "1"}},
        {"build_args": {"VERSION": "4"}},
        {"build_args": {"BUILDKIT_SYNTAX": "x"}},
        {"target": "build"},
        {"platform": "linux/arm64"},
        {"labels": {"a": "b"}},
        {"options": {"network_mode": "host"}},
    ],
)
def test_fields_of_the_spec_are_inputs(spec: BuildSpec, change: dict[str, object]) -> None:
    assert tag(replace(spec, **change)) not in (None, tag(spec))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"build_args": {"UNUSED": "1"}},
        {"platform": "linux/amd64"},
        {"options": {"pull": True, "cache_from": ["x"], "nocache": False}},
        {"backend": "buildx"},
    ],
)
def test_options_without_effect_on_the_image_are_no_inputs(
    spec: BuildSpec, change: dict[str, object]
) -> None:
    before = tag(replace(spec, options={"nocache": False}))
    change = {"options": {"nocache": False}, **change}
    assert tag(replace(spec, **change)) == before  # type: ignore[arg-type]


def test_every_file_that_is_not_excluded_is_an_input(spec: BuildSpec) -> None:
    tags = [tag(spec)]
    deeds: list[Callable[[Path], object]] = [
        lambda folder: (folder / "src/flow.py").write_text("b"),
        lambda folder: (folder / "src/flow.py").chmod(0o755),
        lambda folder: (folder / "src/flow.py").rename(folder / "src/flow2.py"),
        lambda folder: (folder / "link2").symlink_to("src"),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "\udcff").touch(),
    ]
    for deed in deeds:
        deed(spec.context)
        tags.append(tag(spec))
    assert len(set(tags)) == len(tags)
    (spec.context / "notes").touch()
    assert tag(spec, ignore="notes") == tags[-1]


def test_every_base_image_of_the_target_is_an_input(spec: BuildSpec) -> None:
    def moved(image: str) -> Callable[[BaseImage], str]:
        return lambda base: "sha256:new" if base.image == image else f"sha256:{base.image}"

    assert tag(spec, digest_of=moved("slim")) != tag(spec)
    assert tag(spec, digest_of=moved("python:3")) != tag(spec)
    assert tag(spec, digest_of=moved("python:4")) == tag(spec)
    build = replace(spec, target="build")
    assert tag(build, digest_of=moved("slim")) == tag(build)


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nADD https://x.io/file /",
        "FROM a\nADD git@github.com:a/b.git /",
        "FROM a\nADD $URL /",
        "# syntax=x.io/own:1\nFROM a",
    ],
)
def test_downloads_have_no_content_tag(spec: BuildSpec, text: str) -> None:
    assert tag(spec, text) is None


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\nADD --checksum=sha256:1 https://x.io/file /",
        "FROM a\nADD file /",
        "# syntax=docker/dockerfile:1\nFROM a",
        "FROM scratch\nCOPY . /",
    ],
)
def test_local_sources_have_a_content_tag(spec: BuildSpec, text: str) -> None:
    assert tag(spec, text) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"ignore_cache": True},
        {"options": {"nocache": True}},
        {"options": {"cache": False}},
        {"options": {"build_contexts": {"other": "../other"}}},
    ],
)
def test_specs_that_disable_the_cache_have_no_content_tag(
    spec: BuildSpec, change: dict[str, object]
) -> None:
    assert tag(replace(spec, **change)) is None  # type: ignore[arg-type]


def test_base_without_a_digest_has_no_content_tag(spec: BuildSpec) -> None:
    assert tag(spec, digest_of=lambda _: None) is None


def test_unsupported_substitution_is_left_to_the_engine(spec: BuildSpec) -> None:
    assert tag(spec, "ARG V=3-slim\nFROM a:${V%-*}") is None


def test_invalid_dockerfile_is_rejected(spec: BuildSpec) -> None:
    with pytest.raises(BadDockerfile, match="unknown instruction X"):
        tag(spec, "FROM a\nX")
