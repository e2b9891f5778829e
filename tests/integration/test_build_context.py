"""Contexts, `.dockerignore` and Dockerfiles, compared with a real Docker Engine.

Debian's `docker` uses BuildKit without a plugin; with another one that cannot, only the classic
builder is compared.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployctl.images.context import ContextEntry, walk_context, with_engine_files
from deployctl.images.dockerfile.parser import parse
from deployctl.images.dockerfile.stages import BuildParameters, expand_instructions, parse_pairs
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.tar import write_context
from tests.support.docker_engine import PATH, DockerEngine, lacks
from tests.support.ignore_cases import EXCLUDED, INCLUDED, TREE, create_tree

pytestmark = pytest.mark.integration

File = tuple[str, int, str, str]
"""Type, mode, link target and content digest of a file."""
_TYPES = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.FIFOTYPE: "pipe",
}
COPY_ALL = "FROM scratch\nCOPY . /\n"
NAMES = ["a", "b", "ab", "a.py", ".x", "é", "a b"]


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    """A running engine, shared by the tests of this file."""
    if reason := lacks():
        pytest.skip(reason)
    with DockerEngine() as running:
        yield running


class BuildKit:
    """Builds with the `docker` program, that of Debian if there are several."""

    def __init__(self, engine: DockerEngine, scratch: Path) -> None:
        self._engine, self._scratch = engine, scratch

    def build(self, folder: Path) -> dict[str, File]:
        """Builds a folder; returns the files of the image."""
        out = self._scratch / "built.tar"
        done = self.run(folder, "--output", f"type=tar,dest={out}")
        assert done.returncode == 0, done.stderr
        with tarfile.open(out) as tar:
            return files_of(tar)

    def run(self, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        """Runs `docker build` in a folder; does not check the result."""
        return subprocess.run(
            ["docker", "build", *flags, "."],
            cwd=folder,
            env=os.environ
            | {"PATH": f"/usr/bin:{PATH}", "DOCKER_HOST": self._engine.url, "DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def buildkit(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> BuildKit:
    """BuildKit in the engine; skips if the `docker` command cannot use it."""
    folder, scratch = tmp_path_factory.mktemp("probe"), tmp_path_factory.mktemp("out")
    (folder / "Dockerfile").write_text(COPY_ALL)
    found = BuildKit(engine, scratch)
    tried = found.run(folder)
    if "buildx" in tried.stderr:
        pytest.skip("this docker command needs the buildx plugin for BuildKit")
    return found


def files_of(tar: tarfile.TarFile) -> dict[str, File]:
    found = {}
    for member in tar:
        content = tar.extractfile(member) if member.isreg() else None
        digest = hashlib.sha256(content.read()).hexdigest() if content else ""
        kind, target = _TYPES[member.type], member.linkname if member.issym() else ""
        found[member.name.strip("/")] = (kind, member.mode & 0o7777, target, digest)
    return found


def engine_build(engine: DockerEngine, archive: io.BytesIO, **options: Any) -> str:
    """Builds a context with the classic builder; returns the image id."""
    answers = engine.client.api.build(
        fileobj=archive, custom_context=True, decode=True, rm=True, **options
    )
    records = list(answers)
    ids = [answer["aux"]["ID"] for answer in records if "aux" in answer]
    assert ids, records[-1]
    return str(ids[-1])


def layers_of(engine: DockerEngine, image: str) -> dict[str, File]:
    found: dict[str, File] = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(engine.client.api.get_image(image)))) as saved:
        manifest = saved.extractfile("manifest.json")
        assert manifest
        for layer in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as tar:
                found |= files_of(tar)
    return found


def ours(seen: list[ContextEntry]) -> dict[str, File]:
    return {e.path: (str(e.type), e.mode, e.target, e.digest) for e in seen}


def create_entries(folder: Path) -> Path:
    """Creates a folder with all kinds of entries."""
    (folder / "Dockerfile").write_text(COPY_ALL)
    (folder / "sub/deeper").mkdir(parents=True)
    (folder / "sub").chmod(0o750)
    (folder / "sub/deeper" / ("x" * 180)).write_text("long")
    for name in ("文件", "a b", "new\nline", "*?[", "\udcff\udcfe", "файл"):
        (folder / name).write_text(name.encode(errors="surrogateescape").hex())
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "secret").touch(0o600)
    (folder / "inside").symlink_to("sub/deeper")
    (folder / "outside").symlink_to("../../etc/passwd")
    (folder / "broken").symlink_to("/nowhere/файл")
    return folder


def create_archive(folder: Path, ignore: DockerIgnore) -> io.BytesIO:
    out = io.BytesIO()
    seen = walk_context(folder, ignore)
    write_context(with_engine_files(seen, folder, "Dockerfile", ".dockerignore"), out)
    out.seek(0)
    return out


def test_engine_unpacks_the_archive_to_the_same_files(engine: DockerEngine, tmp_path: Path) -> None:
    ignore = DockerIgnore()
    image = engine_build(engine, create_archive(create_entries(tmp_path), ignore))
    assert layers_of(engine, image) == ours(walk_context(tmp_path, ignore))


def test_engine_files_are_not_in_the_image(engine: DockerEngine, tmp_path: Path) -> None:
    create_entries(tmp_path)
    (tmp_path / ".dockerignore").write_text("Dockerfile\n.dockerignore\nsub")
    ignore = DockerIgnore.read(tmp_path)
    image = engine_build(engine, create_archive(tmp_path, ignore))
    assert layers_of(engine, image) == ours(walk_context(tmp_path, ignore))


def test_buildkit_sees_the_same_files(buildkit: BuildKit, tmp_path: Path) -> None:
    (
        create_entries(tmp_path) / "\udcff\udcfe"
    ).unlink()  # BuildKit rejects names that are not UTF-8
    (tmp_path / "script").chmod(0o4755)  # the classic builder drops setuid
    assert buildkit.build(tmp_path) == ours(walk_context(tmp_path, DockerIgnore()))


def test_buildkit_prefers_the_dockerfiles_own_ignore_file(
    buildkit: BuildKit, tmp_path: Path
) -> None:
    create_entries(tmp_path)
    (tmp_path / "\udcff\udcfe").unlink()
    (tmp_path / ".dockerignore").write_text("secret")
    (tmp_path / "Dockerfile.dockerignore").write_text("script")
    assert buildkit.build(tmp_path) == ours(walk_context(tmp_path, DockerIgnore.read(tmp_path)))


@pytest.mark.parametrize(
    ("lines", "kept"),
    [(lines, [path for path in TREE if path not in out]) for lines, out in EXCLUDED[::2]]
    + INCLUDED,
)
def test_dockerignore_cases_match_buildkit(
    buildkit: BuildKit, tmp_path: Path, lines: str, kept: list[str]
) -> None:
    (create_tree(tmp_path) / "Dockerfile").write_text(COPY_ALL)
    (tmp_path / ".dockerignore").write_text(lines)
    built = buildkit.build(tmp_path)
    assert [path for path in TREE if path.rstrip("/") in built] == [p for p in TREE if p in kept]


def trees() -> st.SearchStrategy[list[str]]:
    path = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
    return st.lists(path, min_size=3, max_size=12)


def patterns() -> st.SearchStrategy[list[str]]:
    plain = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
    part = st.sampled_from([*NAMES, "*", "?", "*.py", "a*", "[ab]", "[^a]"])
    globs = st.lists(part, min_size=1, max_size=3).map("/".join)
    deep = st.builds("**/{}".format, st.sampled_from(NAMES))
    # No `!` patterns: engines of 2021 differ; `ignore_cases` covers them.
    return st.lists(st.one_of(plain, globs, deep), max_size=4)


@settings(max_examples=25)
@given(tree=trees(), lines=patterns())
def test_any_tree_with_any_patterns_matches_buildkit(
    buildkit: BuildKit,
    tmp_path_factory: pytest.TempPathFactory,
    tree: list[str],
    lines: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for path in tree:
        target_path = folder / path
        if not target_path.exists() and all(
            p.is_dir() or not p.exists() for p in target_path.parents
        ):
            target_path.parent.mkdir(parents=True, exist_ok=True)
            target_path.write_text(path)
    (folder / "Dockerfile").write_text(COPY_ALL)
    (folder / ".dockerignore").write_text("\n".join(lines))
    expected, actual = buildkit.build(folder), ours(walk_context(folder, DockerIgnore.read(folder)))
    # Engines of 2021 keep a directory whose files are all excluded; newer ones do not.
    assert without_directories(expected) == without_directories(actual)


def without_directories(found: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {path: fields for path, fields in found.items() if fields[0] != "folder"}


SUBSTITUTED = r"""
ARG GLOBAL=outer
ARG USED=1
FROM scratch AS first
ARG USED
ARG GLOBAL
ARG DEFAULT=d UNSET
ARG QUOTED="it's $USED"
ENV HOME_=/srv/$USED EMPTY=
ENV OLD the old  "form" $USED
ENV OLD=new BEFORE=$OLD
ENV USED_TWICE=$USED/${USED}_${USED}x
FROM first
ARG LAST=${DEFAULT}/$GLOBAL
LABEL a=$USED b="$GLOBAL" c='$GLOBAL' d=\$USED e="\$USED\\" f=a\ b "g h"=i
LABEL j=${UNSET:-none} k=${EMPTY:-none} l=${EMPTY:+some} m=${USED:+some} n=${UNSET:-$USED}
LABEL o=$OLD p=$BEFORE q=$LAST r=$QUOTED s=$ t=$UNSET. \
  # a comment
  u=${UNSET:-${EMPTY:-nested}}
WORKDIR $HOME_/deep
USER ${UNSET:-me}
EXPOSE ${UNSET:-80}
VOLUME $HOME_
STOPSIGNAL ${UNSET:-SIGINT}
CMD ["$USED"]
ENTRYPOINT echo $USED
"""


def test_buildkit_expands_variables_alike(
    engine: DockerEngine, buildkit: BuildKit, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(SUBSTITUTED)
    flags = ["--build-arg", "USED=given", "--build-arg", "NOT_DECLARED=1"]
    done = buildkit.run(tmp_path, "-q", *flags)
    assert done.returncode == 0, done.stderr
    assert_alike(engine, done.stdout.strip(), SUBSTITUTED)


def test_engine_expands_variables_alike(engine: DockerEngine, tmp_path: Path) -> None:
    text = SUBSTITUTED.replace(
        "FROM first\n", ""
    )  # the classic builder drops the arguments of that stage
    (tmp_path / "Dockerfile").write_text(text)
    image = engine_build(
        engine, create_archive(tmp_path, DockerIgnore()), buildargs={"USED": "given"}
    )
    assert_alike(engine, image, text)


def assert_alike(engine: DockerEngine, image: str, text: str) -> None:
    """Compares the image config with the expanded instructions."""
    config = engine.client.api.inspect_image(image)["Config"]
    parsed = parse(text)
    assert parsed.problems == ()
    parameters = BuildParameters(
        {"USED": "given", "NOT_DECLARED": "1"}, "linux/amd64", "linux/amd64"
    )
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    last = {}
    for instruction in expand_instructions(parsed, parsed.stages, parameters, {}):
        last[instruction.keyword] = list(instruction.words)
        if instruction.keyword == "ENV":
            env |= parse_pairs(instruction.words)
        elif instruction.keyword == "LABEL":
            labels |= parse_pairs(instruction.words)
    expected = parse_pairs(config["Env"])
    expected.pop("PATH", None)  # the builder's own
    assert expected == env
    assert config["Labels"] == labels
    assert [config["WorkingDir"]] == last["WORKDIR"]
    assert [config["User"]] == last["USER"]
    assert list(config["ExposedPorts"]) == [f"{port}/tcp" for port in last["EXPOSE"]]
    assert list(config["Volumes"]) == last["VOLUME"]
    assert [config["StopSignal"]] == last["STOPSIGNAL"]
    assert config["Cmd"] == last["CMD"]
    assert config["Entrypoint"] == ["/bin/sh", "-c", *last["ENTRYPOINT"]]


def test_file_of_more_than_two_gigabytes_is_written(tmp_path: Path) -> None:
    size = (2 << 30) + 1
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)

    class Sink(io.RawIOBase):
        written = 0

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.written += len(data)
            return len(data)

    sink = Sink()
    write_context(walk_context(tmp_path, DockerIgnore()), sink)  # type: ignore[arg-type]
    assert sink.written > size
