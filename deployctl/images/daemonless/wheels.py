"""The requirements of a project as a layer, for `dockerfile: auto` where nothing can be run.

`uv`, or else `pip`, unpacks wheels for the image's platform and Python; only wheels, since anything
else would have to be built there. They come into a folder of their own, which PYTHONPATH puts
before what the base image has: into its own folder they cannot go, because nobody can know which
versions of the same packages lie there. So that both fit together, Prefect of the image's own
version is resolved with them. What is done with the requirements once is found again by a tag in
the image's repository, as an engine finds a layer in its cache.

The images of `dockerfile: auto` are Prefect's, which stand on Python's: Debian's C library, and
Python in /usr/local. What does not look like that is refused.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployctl.clients import process
from deployctl.core.cancellation import CancellationToken
from deployctl.core.errors import DeployctlError
from deployctl.core.json_values import digest
from deployctl.core.redact import redact
from deployctl.images.context import Entry, EntryType, walk_context
from deployctl.images.daemonless.layer import LayerBlob, LayerEntry, write_layer
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.platform import Platform

HOME = "/opt/deployctl"
_PACKAGES = f"{HOME}/site-packages"
_PROGRAMS = f"{HOME}/bin"
_FORMAT = 1
"""Another number makes all layers new."""
_LETTERS = 20
_GLIBC = range(28, 16, -1)
"""Minor versions of the C library that wheels may be for, newest first: all Debians have these."""
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_SECONDS = 1800.0
_LINES_SHOWN = 10
_ELSEWHERE = re.compile(
    r"\s*(?:-[rcef]|--(?:requirement|constraint|editable|find-links)|\."
    r"|[^\s:#;@]*/|[^\s:#;@]+\.(?:whl|zip|tar)\b)|.*file:"
)
"""A line by which something is installed that is known by its path only."""
_COMPLETE = re.compile(r"^\s*prefect(?![\w-])|--hash[= ]", re.MULTILINE | re.IGNORECASE)
"""Requirements that Prefect is not added to: they name it, or have hashes, which all that is
installed needs then."""
_RELEASE = re.compile(r"(\d+(?:\.\d+)+(?:(?:a|b|rc)\d+)?)-python")
_SHEBANG = re.compile(rb"\A(?:#!/bin/sh\n'''exec' .*\n' '''\n|#!.*python.*\n)")
_PATHS_WITHOUT_EFFECT = re.compile(r"distutils-precedence\.pth|.*-nspkg\.pth")
_SELF = (
    "import sys, platform as p; print('%d.%d' % sys.version_info[:2], sys.platform, p.machine())"
)
_DROPPED = frozenset({".lock", "uv_cache.json", "direct_url.json"})


class NoWheels(DeployctlError):
    """Requirements cannot be put into an image without running anything in it."""

    code = "DC738"


@dataclass(frozen=True, slots=True)
class WheelSpec:
    """What is to be installed, and where."""

    requirements: Path
    python: str
    """Like `3.11`."""
    architecture: str
    """In the words of wheels: `x86_64`."""
    prefect: str | None
    """The version that the image has; None if it is not to be resolved with the rest."""

    @property
    def key(self) -> str | None:
        """A tag for the layer; None if what is installed does not stand in the file alone."""
        text = _text(self.requirements)
        if any(_ELSEWHERE.match(line) for line in text.splitlines()):
            return None
        named = [_FORMAT, text, self.python, self.architecture, self.prefect]
        return f"wheels-{digest(named)[:_LETTERS]}"


def wheel_spec(
    requirements: Path, image: str, env: Mapping[str, str], platform: Platform
) -> WheelSpec:
    """What is to be installed for a base image of this name, environment and platform.

    Raises NoWheels.
    """
    python = ".".join(env.get("PYTHON_VERSION", "").split(".")[:2])
    if not python or "VIRTUAL_ENV" in env or "/usr/local/bin" not in env.get("PATH", "").split(":"):
        raise NoWheels(
            f"where '{image}' has Python, and which one, cannot be known from its variables",
            help="it should have PYTHON_VERSION and /usr/local/bin in PATH, as python:3.11 has",
        )
    if platform.os != "linux" or platform.architecture not in _ARCHITECTURES:
        raise NoWheels(f"requirements for {platform} cannot be installed without Docker")
    release = _RELEASE.search(image)
    complete = _COMPLETE.search(_text(requirements))
    prefect = release[1] if release and not complete else None
    return WheelSpec(requirements, python, _ARCHITECTURES[platform.architecture], prefect)


def _text(requirements: Path) -> str:
    try:
        return requirements.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NoWheels(f"'{requirements.name}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NoWheels(
            f"'{requirements.name}' is not a text in UTF-8",
            help="save it as UTF-8; `pip freeze >` of PowerShell writes UTF-16",
        ) from error


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables by which an image with these finds what was installed."""
    first = {"PATH": _PROGRAMS, "PYTHONPATH": _PACKAGES}
    return {name: ":".join(filter(None, [path, env.get(name)])) for name, path in first.items()}


def install_wheels(
    what: WheelSpec,
    path: Path,
    *,
    env: Mapping[str, str],
    python: Callable[[], str],
    stop: CancellationToken,
    on_line: process.LineCallback,
) -> LayerBlob:
    """Writes the layer to `path`; `python` gives an interpreter that has pip, if there is no uv.

    Raises NoWheels, ProgramError, Interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="deployctl-") as folder:
        target = Path(folder)
        if uv := shutil.which("uv", path=env.get("PATH")):
            command = _uv(uv, what, target)
        else:
            interpreter = python()
            _expect_same(interpreter, what, env, stop)
            command = _pip(interpreter, what, target)
        done = process.run(
            command,
            cwd=what.requirements.parent,
            env=env,
            timeout=_SECONDS,
            on_line=on_line,
            cancellation=stop,
        )
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise NoWheels(
                f"'{what.requirements.name}' cannot be installed from wheels for Python"
                f" {what.python} on {what.architecture}",
                help="\n".join(redact(line) for line in lines[-_LINES_SHOWN:]) or None,
            )
        folders = {
            each.lstrip("/"): LayerEntry(EntryType.FOLDER, 0o755) for each in (HOME, _PACKAGES)
        }
        return write_layer(
            folders | dict(_items(walk_context(target, DockerIgnore()), what.python)), path
        )


def _expect_same(
    python: str, what: WheelSpec, env: Mapping[str, str], stop: CancellationToken
) -> None:
    """Raises NoWheels for an interpreter that differs from the image's: which requirements count
    for another one, pip would judge by itself, not by the image."""
    cwd = what.requirements.parent
    done = process.run([python, "-c", _SELF], cwd=cwd, env=env, timeout=_SECONDS, cancellation=stop)
    itself, image = done.stdout.strip(), f"{what.python} linux {what.architecture}"
    if itself != image:
        raise NoWheels(
            f"pip of '{python}' installs for '{itself}', and the image is for '{image}'",
            help="install uv, which can install for others",
        )


def _common(what: WheelSpec, target: Path) -> list[str]:
    prefect = [f"prefect=={what.prefect}"] if what.prefect else []
    return [
        *("--target", str(target)),
        *("--python-version", what.python),
        *("-r", what.requirements.name, *prefect),
    ]


def _pip(python: str, what: WheelSpec, target: Path) -> Sequence[str]:
    platforms = [f"manylinux_2_{minor}_{what.architecture}" for minor in _GLIBC]
    platforms.append(f"manylinux2014_{what.architecture}")
    return [
        *(python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
        *("--progress-bar", "off"),
        *("--no-compile", "--only-binary=:all:", "--implementation", "cp"),
        *(part for each in platforms for part in ("--platform", each)),
        *_common(what, target),
    ]


def _uv(uv: str, what: WheelSpec, target: Path) -> Sequence[str]:
    return [
        *(uv, "pip", "install", "--only-binary", ":all:", "--link-mode", "copy"),
        *("--python-platform", f"{what.architecture}-manylinux_2_{_GLIBC[0]}"),
        *_common(what, target),
    ]


def _items(found: Sequence[Entry], python: str) -> Iterator[tuple[str, LayerEntry]]:
    """What was installed, as it is to lie in the image, whatever machine installed it."""
    interpreter = f"#!/usr/local/bin/python{python}\n".encode()
    for entry in found:
        name = Path(entry.path)
        if "__pycache__" in name.parts or name.name in _DROPPED:
            continue
        if len(name.parts) == 1 and name.suffix == ".pth":
            if not _PATHS_WITHOUT_EFFECT.fullmatch(name.name):
                raise NoWheels(f"'{name.name}' of a requirement has to lie where Python itself is")
            continue
        is_program = name.parts[0] == "bin"
        home = HOME if is_program else _PACKAGES
        mode = 0o755 if entry.kind is EntryType.FOLDER or entry.mode & 0o100 else 0o644
        content: Entry | bytes = entry if entry.kind is EntryType.FILE else b""
        if is_program and entry.kind is EntryType.FILE:
            content = _SHEBANG.sub(interpreter, entry.source.read_bytes())
        elif name.name == "RECORD":
            content = _without_programs(entry.source.read_bytes())
        yield f"{home}/{entry.path}".lstrip("/"), LayerEntry(entry.kind, mode, content=content)


def _without_programs(record: bytes) -> bytes:
    """The list of a package's files without its programs, which name another interpreter there."""
    lines = record.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b"../", b"bin/")))
