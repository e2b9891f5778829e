"""Assembled images, compared with those of a real Docker Engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.model import BuildSpec, Image
from deployctl.images.source import ProjectVersions, read_source
from tests.support.docker_engine import DockerEngine
from tests.support.registry import LocalRegistry

VERSIONS = ProjectVersions("3.8.8", "3.11")
BASE = r"""
FROM box:1
ENV A=base PATH=/bin:/usr/bin
LABEL of=base
EXPOSE 80
WORKDIR /opt/prefect
CMD ["/box", "print=base"]
VOLUME /data
"""
FILES = {
    "flow.py": "print(1)\n",
    "requirements.txt": "",
    "conf/app.yaml": "a: 1\n",
    "conf/deep/er/x.txt": "x\n",
    "data/ünïcode ☃.txt": "snow",
    "a.txt": "a",
    "b.txt": "longer",  # Docker misses a change that keeps size and time
    "notes/skip.md": "no",
    ".dockerignore": "notes\n",
}


@pytest.fixture(scope="module")
def base(docker_engine: DockerEngine, registry: LocalRegistry) -> str:
    """An image in the registry."""
    name = f"{registry.host}/team/base"
    docker_engine.client.images.build(
        fileobj=io.BytesIO(BASE.encode()), tag=f"{name}:1", network_mode="none"
    )
    docker_engine.client.images.push(name, "1")
    return f"{name}:1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build context with all kinds of entries."""
    project = tmp_path / "project"
    for path, text in FILES.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "flow.py").chmod(0o755)
    (project / "conf/deep").chmod(0o2770)
    (project / "conf/deep/er/x.txt").chmod(0o6755)
    (project / "conf/app.yaml").chmod(0o640)
    (project / "inside").symlink_to("a.txt")
    (project / "outside").symlink_to("/etc/passwd")
    (project / "conf/up").symlink_to("../b.txt")
    (project / "folder").symlink_to("conf")
    return project


@pytest.fixture
def builder(tmp_path: Path) -> Iterator[AssembleBuilder]:
    with AssembleBuilder(env={"HOME": str(tmp_path)}, on_output=lambda *_: None) as builder:
        yield builder


def assembled(builder: AssembleBuilder, folder: Path, name: str, **more: Any) -> Image:
    spec = BuildSpec(name, folder, tag="1", **more)
    return builder.push(builder.build(spec, read_source(spec, lambda: VERSIONS), None), ["1"], None)


def files_of(engine: DockerEngine, image: str) -> dict[str, tuple[Any, ...]]:
    """The files of a container: type, mode, owner, link target and content by path."""
    container = engine.client.containers.create(image, ["/box"], network_mode="none")
    try:
        archive = io.BytesIO(b"".join(container.export()))
    finally:
        container.remove()
    with tarfile.open(fileobj=archive) as tar:
        return {
            each.name: (
                each.type,
                oct(each.mode),
                each.uid,
                each.gid,
                each.linkname,
                tar.extractfile(each).read() if each.isreg() else b"",  # type: ignore[union-attr]
            )
            for each in tar
        }


SIMPLE = [
    "COPY flow.py .",
    "COPY . .",
    "COPY . /app/",
    "COPY conf /app",
    "COPY conf/ /app/conf/",
    "COPY flow.py /app/flow.py",
    "COPY conf/app.yaml /app/other.yaml",
    "WORKDIR /app\nCOPY flow.py .",
    "WORKDIR /app\nWORKDIR sub\nCOPY flow.py ./",
    "COPY *.txt /texts/",
    "COPY [ab].txt conf/*.yaml /texts/",
    "COPY con* /texts/",
    "COPY fl?w.py /texts/",
    "COPY inside /app/",
    "COPY inside /app/kept.txt",
    "COPY folder /app/",
    "COPY folder/deep/er/x.txt /app/",
    "COPY conf/up /app/",
    "COPY --chown=1000:2000 flow.py ./",
    "COPY --chown=1000 conf ./",
    "WORKDIR /app\nCOPY --chown=1000:1000 . .",
    'COPY ["data/ünïcode ☃.txt", "/app/"]',
    "COPY a.txt /app/x.txt\nCOPY b.txt /app/x.txt",
    "COPY conf /app/\nCOPY a.txt /app/deep/er/x.txt",
    "WORKDIR /app\nCOPY a.txt ..",
    "ADD conf a.txt /app/",
    "COPY a.txt /data/",
    "COPY . /",
    'ENV A=1 B="two words" C=$A\nENV D old form',
    "ARG X=1\nENV Y=$X-${X}\nLABEL l=$Y m='x y'",
    "EXPOSE 80/udp 8000-8002 443",
    'USER 1000:1000\nENTRYPOINT ["/box"]',
    "ENTRYPOINT /box print=1",
    'CMD ["a"]\nENTRYPOINT ["/box"]',
    "CMD /box print=1",
    'CMD ["a"]\nFROM first\nENTRYPOINT ["/box"]',
    'SHELL ["/box", "-x"]\nCMD a b',
    "VOLUME /a /b",
    'VOLUME ["/c d"]',
    "STOPSIGNAL SIGINT",
    "HEALTHCHECK --interval=1m30s --timeout=2s --retries=3 CMD /box exit=0",
    'HEALTHCHECK CMD ["/box"]',
    "HEALTHCHECK NONE",
    "ONBUILD COPY . /x",
    "WORKDIR sub",
    "MAINTAINER me",
    "CMD []",
]


ON_SCRATCH = [
    "COPY flow.py /app",
    "COPY flow.py /bin/sub/",
    "COPY --chown=1000:2000 flow.py /a/b/",
    "COPY --chown=1000:2000 conf /a/b/",
    "WORKDIR /a\nCOPY --chown=7 conf /a/b/c",
    "ENV A=1\nCOPY . /",
]


@pytest.mark.parametrize(
    "text",
    [
        *(f"FROM BASE AS first\n{text}" for text in SIMPLE),
        *(f"FROM scratch\n{text}" for text in ON_SCRATCH),
    ],
)
def test_assembled_image_equals_the_one_of_an_engine(
    docker_engine: DockerEngine,
    registry: LocalRegistry,
    base: str,
    folder: Path,
    builder: AssembleBuilder,
    text: str,
) -> None:
    (folder / "Dockerfile").write_text(text.replace("BASE", base, 1))
    client = docker_engine.client
    expected, _ = client.images.build(
        path=str(folder), network_mode="none", labels={"from": "outside"}
    )
    name = f"{registry.host}/team/app"
    image = assembled(builder, folder, name, labels={"from": "outside"})
    actual = client.images.pull(f"{name}@{image.digest}")
    assert files_of(docker_engine, actual.id) == files_of(docker_engine, expected.id)
    for field in ("Architecture", "Os", "Author"):
        assert actual.attrs[field] == expected.attrs[field]
    configs = [
        {k: v for k, v in each.attrs["Config"].items() if k not in ("Image", "Hostname")}
        for each in (actual, expected)
    ]
    assert configs[0] == configs[1]
