"""The requirements of a project as a layer, for `dockerfile: auto` without a container engine.

`uv`, or else `pip`, unpacks wheels for the platform and the Python of the image. Only wheels are
used, because anything else would have to be built on that platform. They are installed into a
directory of their own, which PYTHONPATH puts before that of the base image: they can't go into the
latter, because it is unknown which versions of the same packages it contains. Prefect, in the
version of the image, is resolved together with them so that both fit. The layer is tagged in the
image's repository and found there by later builds, like a cached layer in an engine.

The base images of `dockerfile: auto` are Prefect's, which are based on Python's: glibc of Debian,
and Python in /usr/local. Images that do not look like that are rejected.
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
from deployctl.images.context import ContextEntry, EntryType, walk_context
from deployctl.images.daemonless.layer import LayerBlob, write_layer
from deployctl.images.dockerignore import DockerIgnore
from deployctl.images.platform import Platform
from deployctl.images.tar import TarMember

HOME = "/opt/deployctl"
_PACKAGES = f"{HOME}/site-packages"
_SCRIPTS = f"{HOME}/bin"
_FORMAT = 1
"""Part of every key; to be increased when equal requirements give another layer."""
_LENGTH = 20
_GLIBC_MINORS = range(28, 16, -1)
"""Minor versions of glibc 2 that wheels may need, newest first; every Debian has these."""
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_TIMEOUT = 1800.0
"""Seconds."""
_SHOWN_LINES = 10
_BY_PATH = re.compile(
    r"\s*(?:-[rcef]|--(?:requirement|constraint|editable|find-links)|\."
    r"|[^\s:#;@]*/|[^\s:#;@]+\.(?:whl|zip|tar)\b)|.*file:"
)
"""A requirement that is given by a path or another file, whose content is unknown."""
_COMPLETE = re.compile(r"^\s*prefect(?![\w-])|--hash[= ]", re.MULTILINE | re.IGNORECASE)
"""Requirements to which Prefect is not added: they contain it, or have hashes, which pip requires
for every package then."""
_RELEASE = re.compile(r"(\d+(?:\.\d+)+(?:(?:a|b|rc)\d+)?)-python")
_SHEBANG = re.compile(rb"\A(?:#!/bin/sh\n'''exec' .*\n' '''\n|#!.*python.*\n)")
_HARMLESS_PTH = re.compile(r"distutils-precedence\.pth|.*-nspkg\.pth")
_PRINT_PLATFORM = (
    "import sys, platform as p; print('%d.%d' % sys.version_info[:2], sys.platform, p.machine())"
)
_SKIPPED = frozenset({".lock", "uv_cache.json", "direct_url.json"})


class NoWheels(DeployctlError):
    """Requirements cannot be installed without running something in the image."""

    code = "DC738"


@dataclass(frozen=True, slots=True)
class WheelSpec:
    """What to install, and for which Python and platform."""

    requirements: Path
    python: str
    """Like `3.11`."""
    architecture: str
    """As in the names of wheels: `x86_64`."""
    prefect: str | None
    """Version of Prefect in the image; None if it is not to be resolved with the requirements."""

    @property
    def key(self) -> str | None:
        """The tag of the layer; None if the file alone does not determine what is installed."""
        text = _text(self.requirements)
        if any(_BY_PATH.match(line) for line in text.splitlines()):
            return None
        named = [_FORMAT, text, self.python, self.architecture, self.prefect]
        return f"wheels-{digest(named)[:_LENGTH]}"


def wheel_spec(
    requirements: Path, image: str, env: Mapping[str, str], platform: Platform
) -> WheelSpec:
    """What to install for a base image with this name, environment and platform.

    Raises NoWheels.
    """
    python = ".".join(env.get("PYTHON_VERSION", "").split(".")[:2])
    if not python or "VIRTUAL_ENV" in env or "/usr/local/bin" not in env.get("PATH", "").split(":"):
        raise NoWheels(
            f"cannot find the version and location of Python in the environment of '{image}'",
            help="Use an image with PYTHON_VERSION and /usr/local/bin in PATH, like python:3.11.",
        )
    if platform.os != "linux" or platform.architecture not in _ARCHITECTURES:
        raise NoWheels(f"cannot install requirements for {platform} without Docker")
    release = _RELEASE.search(image)
    complete = _COMPLETE.search(_text(requirements))
    prefect = release[1] if release and not complete else None
    return WheelSpec(requirements, python, _ARCHITECTURES[platform.architecture], prefect)


def _text(requirements: Path) -> str:
    try:
        return requirements.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NoWheels(f"cannot read '{requirements.name}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise NoWheels(
            f"'{requirements.name}' is not valid UTF-8",
            help="Save it as UTF-8; `pip freeze >` in PowerShell writes UTF-16.",
        ) from error


def layer_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables with which an image that has `env` finds the installed packages."""
    prefixes = {"PATH": _SCRIPTS, "PYTHONPATH": _PACKAGES}
    return {name: ":".join(filter(None, [path, env.get(name)])) for name, path in prefixes.items()}


def install_wheels(
    spec: WheelSpec,
    path: Path,
    *,
    env: Mapping[str, str],
    python: Callable[[], str],
    cancellation: CancellationToken,
    on_line: process.LineCallback,
) -> LayerBlob:
    """Installs the wheels and writes the layer to `path`.

    `python` returns an interpreter with pip; it is called only if there is no uv.

    Raises NoWheels, ProgramError, Interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="deployctl-") as folder:
        target = Path(folder)
        if uv := shutil.which("uv", path=env.get("PATH")):
            command = _uv_command(uv, spec, target)
        else:
            interpreter = python()
            _check_platform(interpreter, spec, env, cancellation)
            command = _pip_command(interpreter, spec, target)
        done = process.run(
            command,
            cwd=spec.requirements.parent,
            env=env,
            timeout=_TIMEOUT,
            on_line=on_line,
            cancellation=cancellation,
        )
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise NoWheels(
                f"cannot install '{spec.requirements.name}' from wheels for Python"
                f" {spec.python} on {spec.architecture}",
                help="\n".join(redact(line) for line in lines[-_SHOWN_LINES:]) or None,
            )
        folders = {
            each.lstrip("/"): TarMember(EntryType.FOLDER, 0o755) for each in (HOME, _PACKAGES)
        }
        return write_layer(
            folders | dict(_members(walk_context(target, DockerIgnore()), spec.python)), path
        )


def _check_platform(
    python: str, spec: WheelSpec, env: Mapping[str, str], cancellation: CancellationToken
) -> None:
    """Raises NoWheels for an interpreter that differs from the image's: pip evaluates environment
    markers for the interpreter that runs it."""
    cwd = spec.requirements.parent
    done = process.run(
        [python, "-c", _PRINT_PLATFORM],
        cwd=cwd,
        env=env,
        timeout=_TIMEOUT,
        cancellation=cancellation,
    )
    own, image = done.stdout.strip(), f"{spec.python} linux {spec.architecture}"
    if own != image:
        raise NoWheels(
            f"pip of '{python}' installs for '{own}', but the image is for '{image}'",
            help="Install uv, which can install for other platforms.",
        )


def _common_arguments(spec: WheelSpec, target: Path) -> list[str]:
    prefect = [f"prefect=={spec.prefect}"] if spec.prefect else []
    return [
        *("--target", str(target)),
        *("--python-version", spec.python),
        *("-r", spec.requirements.name, *prefect),
    ]


def _pip_command(python: str, spec: WheelSpec, target: Path) -> Sequence[str]:
    platforms = [f"manylinux_2_{minor}_{spec.architecture}" for minor in _GLIBC_MINORS]
    platforms.append(f"manylinux2014_{spec.architecture}")
    return [
        *(python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"),
        *("--progress-bar", "off"),
        *("--no-compile", "--only-binary=:all:", "--implementation", "cp"),
        *(part for each in platforms for part in ("--platform", each)),
        *_common_arguments(spec, target),
    ]


def _uv_command(uv: str, spec: WheelSpec, target: Path) -> Sequence[str]:
    return [
        *(uv, "pip", "install", "--only-binary", ":all:", "--link-mode", "copy"),
        *("--python-platform", f"{spec.architecture}-manylinux_2_{_GLIBC_MINORS[0]}"),
        *_common_arguments(spec, target),
    ]


def _members(found: Sequence[ContextEntry], python: str) -> Iterator[tuple[str, TarMember]]:
    """The installed files as members of the layer, independent of the machine."""
    interpreter = f"#!/usr/local/bin/python{python}\n".encode()
    for entry in found:
        name = Path(entry.path)
        if "__pycache__" in name.parts or name.name in _SKIPPED:
            continue
        if len(name.parts) == 1 and name.suffix == ".pth":
            if not _HARMLESS_PTH.fullmatch(name.name):
                raise NoWheels(
                    f"a requirement installs '{name.name}', which only works in site-packages"
                )
            continue
        is_script = name.parts[0] == "bin"
        home = HOME if is_script else _PACKAGES
        mode = 0o755 if entry.type is EntryType.FOLDER or entry.mode & 0o100 else 0o644
        content: ContextEntry | bytes = entry if entry.type is EntryType.FILE else b""
        if is_script and entry.type is EntryType.FILE:
            content = _SHEBANG.sub(interpreter, entry.local_path.read_bytes())
        elif name.name == "RECORD":
            content = _without_scripts(entry.local_path.read_bytes())
        yield f"{home}/{entry.path}".lstrip("/"), TarMember(entry.type, mode, content=content)


def _without_scripts(record: bytes) -> bytes:
    """RECORD without the scripts, whose interpreter line is replaced."""
    lines = record.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b"../", b"bin/")))
