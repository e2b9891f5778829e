"""Destinations of COPY, and instructions that are rejected."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from deployctl.images.context import ContextEntry, EntryType
from deployctl.images.daemonless.copy_destination import LayerContents, NeedsEngine
from deployctl.images.daemonless.copy_sources import ContextFiles, NothingToCopy
from deployctl.images.dockerfile.parser import parse


def entry(path: str, mode: int = 0o644, kind: EntryType = EntryType.FILE) -> ContextEntry:
    return ContextEntry(
        path, kind, mode, 0, "x" if kind is EntryType.LINK else "", Path("/dev/null")
    )


FILES = ContextFiles(
    [
        entry("flow.py"),
        entry("run.sh", 0o755),
        entry("src", 0o700, EntryType.FOLDER),
        entry("src/a.py", 0o640),
        entry("src/link", 0o777, EntryType.LINK),
        entry("bin", 0o755, EntryType.FOLDER),
        entry("bin/tool"),
        entry("deleted", 0o755, EntryType.FOLDER),
        entry("deleted/.wh.tool"),
    ]
)


def contents(
    text: str,
    existing: str | None = "/opt/prefect",
    folder: str = "/opt/prefect",
    user: str = "",
) -> LayerContents:
    """The contents after these instructions; WORKDIR takes absolute paths only."""
    result = LayerContents(existing, user)
    for each in parse(f"FROM base\n{text}").stages[0].instructions:
        if each.keyword == "WORKDIR":
            folder = each.words[0]
            result.enter(folder)
        else:
            result.copy(each, FILES, folder)
    return result


def listed(result: LayerContents) -> list[str]:
    """All members, like `opt/x 755 0:0`."""
    return [
        f"{path} {member.mode:o} {member.owner.user}:{member.owner.group}"
        for path, member in result.members.items()
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("COPY flow.py .", ["opt/prefect/flow.py 644 0:0"]),
        ("COPY flow.py x.py", ["opt/prefect/x.py 644 0:0"]),
        ("COPY flow.py /opt/prefect", ["opt/prefect/flow.py 644 0:0"]),
        ("COPY flow.py /app/", ["app 755 0:0", "app/flow.py 644 0:0"]),
        ("WORKDIR /app", ["app 755 0:0"]),
        ("WORKDIR /app\nCOPY flow.py /app", ["app 755 0:0", "app/flow.py 644 0:0"]),
        (
            "COPY src /app",
            ["app 755 0:0", "app/a.py 640 0:0", "app/link 777 0:0"],
        ),
        (
            "COPY --chown=1000:2000 --chmod=600 src ./",
            ["opt/prefect/a.py 600 1000:2000", "opt/prefect/link 777 1000:2000"],
        ),
        ("COPY --chown=1000 run.sh ./", ["opt/prefect/run.sh 755 1000:1000"]),
        (
            "WORKDIR /app\nCOPY --chown=7 flow.py .",
            ["app 755 0:0", "app/flow.py 644 7:7"],
        ),
    ],
)
def test_copied_files(text: str, found: list[str]) -> None:
    assert listed(contents(text)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("COPY flow.py /x", ["x 644 0:0"]),
        ("COPY flow.py /bin/", ["bin 755 0:0", "bin/flow.py 644 0:0"]),
        ("COPY --chown=7 flow.py /a/b/", ["a 755 7:7", "a/b 755 7:7", "a/b/flow.py 644 7:7"]),
        ("COPY --chown=7 bin /a/b/", ["a 755 0:0", "a/b 755 7:7", "a/b/tool 644 7:7"]),
        ("COPY flow.py /tmp/", ["tmp 755 0:0", "tmp/flow.py 644 0:0"]),
    ],
)
def test_nothing_is_rejected_on_scratch(text: str, found: list[str]) -> None:
    assert listed(contents(text, existing=None, folder="/")) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPY flow.py /bin/", "'/bin' is a link in many images"),
        ("COPY flow.py /var/run/x/", "'/var/run' is a link"),
        ("COPY . /", "'/bin' is a link"),
        ("COPY flow.py /home/me/", "the permissions of '/home'"),
        ("COPY flow.py /tmp/", "the permissions of '/tmp'"),
        ("COPY flow.py /proc/", "'/proc' is not part of an image"),
        ("COPY flow.py /app", "whether '/app' is a directory in the base image"),
        ("COPY flow.py /etc/conf.d", "whether '/etc/conf.d' is a directory in the base image"),
        ("COPY --chown=7:7 src /app", "user 7 owns '/app' only if"),
        ("COPY --chown=7:7 flow.py /app/", "user 7 owns '/app' only if"),
        ("COPY --chown=me flow.py .", "the user and group ids of 'me'"),
        ("COPY --chown=me:7 flow.py .", "the user and group ids of 'me:7'"),
        ("COPY --chmod=u+x flow.py .", "--chmod=u[+]x is not an octal mode"),
        ("COPY --from=other /x .", "the files of 'other' are unknown"),
        ("COPY --parents flow.py .", "--parents is not supported"),
        ("COPY <<END x.py\nEND", "here-documents are not supported"),
        ("ADD https://example.com/x.py ./", "ADD would download"),
        ("COPY src /app\nCOPY flow.py /app/link", "'/app/link' is a link that was copied before"),
        (
            "COPY src /app\nCOPY flow.py /app/link/",
            "'/app/link' was copied before and is not a directory",
        ),
        ("COPY deleted /app/", "'/app/.wh.tool' cannot be in an image"),
        (
            "COPY flow.py /app/\nCOPY src /app/flow.py",
            "'/app/flow.py' was copied before and is not a directory",
        ),
    ],
)
def test_unknown_destination_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(NeedsEngine, match=reason):
        contents(text)


HOME = "/home/me/src"


@pytest.mark.parametrize("user", ["1000:0", "me"])
@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("COPY flow.py .", HOME),
        (f"WORKDIR {HOME}/new", HOME),
        ("COPY src ../other", "/home/me"),
    ],
)
def test_directory_that_may_belong_to_the_base_images_user_is_rejected(
    text: str, folder: str, user: str
) -> None:
    with pytest.raises(NeedsEngine, match=f"'{folder}' may belong to '{user}'"):
        contents(text, HOME, HOME, user)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        *(("COPY flow.py .", user) for user in ("", "0", "root", "root:root")),
        (f"WORKDIR {HOME}", "me"),
        ("COPY flow.py /app/", "me"),
    ],
)
def test_other_directories_are_accepted(text: str, user: str) -> None:
    contents(text, HOME, HOME, user)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("COPY *.txt .", "nothing in the build context matches [*].txt"),
        ("COPY flow.py run.sh x", "more than one file"),
        ("COPY nothing .", "'nothing' is not in the build context"),
    ],
)
def test_invalid_copy_is_rejected(text: str, reason: str) -> None:
    with pytest.raises(NothingToCopy, match=reason):
        contents(text)


def test_truncated_archive_is_added_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(bytes(10_000))[:-20])
    files = ContextFiles(
        [ContextEntry("x.gz", EntryType.FILE, 0o644, file.stat().st_size, "", file)]
    )
    (add,) = parse("FROM x\nADD x.gz .").stages[0].instructions
    result = LayerContents("/app", "")
    result.copy(add, files, "/app")
    assert listed(result) == ["app/x.gz 644 0:0"]


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:xz"])
def test_archive_is_copied_but_not_added(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.tar"
    with tarfile.open(file, kind) as tar:  # type: ignore[call-overload]
        tar.addfile(tarfile.TarInfo("inside"), io.BytesIO())
    files = ContextFiles(
        [ContextEntry("x.tar", EntryType.FILE, 0o644, file.stat().st_size, "", file)]
    )
    copy, add = parse("FROM x\nCOPY x.tar .\nADD x.tar .").stages[0].instructions
    result = LayerContents("/app", "")
    result.copy(copy, files, "/app")
    assert listed(result) == ["app/x.tar 644 0:0"]
    with pytest.raises(NeedsEngine, match=r"ADD would unpack 'x.tar'"):
        result.copy(add, files, "/app")
