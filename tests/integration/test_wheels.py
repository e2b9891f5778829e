"""Layers of requirements, installed by pip and uv from local wheels."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deployctl.core.cancellation import CancellationToken
from deployctl.images.credentials import CredentialStore
from deployctl.images.daemonless.assembler import AssembleBuilder
from deployctl.images.daemonless.layer import LayerBlob
from deployctl.images.daemonless.wheels import NoWheels, WheelSpec, install_wheels
from deployctl.images.distribution import Registries, ResolvedImage
from deployctl.images.model import AUTO, BuildSpec, Image
from deployctl.images.reference import ImageReference
from deployctl.images.source import ProjectVersions, read_source
from tests.support.registry import LocalRegistry

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
ARCHITECTURE = platform.machine()


def add_wheel(folder: Path, name: str, *, tag: str = "py3-none-any", extra: str = "") -> None:
    """Creates a wheel with a module, a script, and a file called `extra`."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": f"def main():\n    print('{name} runs')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:main\n",
        **({extra: "import nothing\n"} if extra else {}),
    }
    hashes = {
        path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        for path, text in files.items()
    }
    record = "".join(f"{path},sha256={hashes[path]},{len(files[path])}\n" for path in files)
    with zipfile.ZipFile(folder / f"{name}-1.0-{tag}.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(path, text)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder of wheels, beside a requirements.txt."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (tmp_path / "requirements.txt").write_text("parrot\n")
    return folder


Install = Callable[..., LayerBlob]


@pytest.fixture
def env(wheels: Path, tmp_path: Path) -> dict[str, str]:
    """An environment that uses only the folder of wheels and has no programs in PATH."""
    return {
        "HOME": str(tmp_path),
        "PATH": str(tmp_path / "tools"),
        **dict.fromkeys(("PIP_NO_INDEX", "UV_NO_INDEX", "UV_OFFLINE"), "1"),
        **dict.fromkeys(("PIP_FIND_LINKS", "UV_FIND_LINKS"), str(wheels)),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON": sys.executable,
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }


@pytest.fixture(params=["pip", "uv"])
def install(request: pytest.FixtureRequest, env: dict[str, str], tmp_path: Path) -> Install:
    """`install()` creates the layer."""
    if request.param == "uv":
        beside = Path(sys.executable).parent
        if not (uv := shutil.which("uv", path=f"{beside}:{os.environ['PATH']}")):
            pytest.skip("uv is not installed")
        Path(env["PATH"]).mkdir()
        (Path(env["PATH"]) / "uv").symlink_to(uv)

    def install(python: str = PYTHON) -> LayerBlob:
        spec = WheelSpec(tmp_path / "requirements.txt", python, ARCHITECTURE, None)
        return install_wheels(
            spec,
            tmp_path / "layer",
            env=env,
            python=lambda: sys.executable,
            cancellation=CancellationToken(),
            on_line=lambda *_: None,
        )

    return install


def unpacked(layer: LayerBlob, folder: Path) -> Path:
    """Unpacks a layer; returns the folder that is `/opt/deployctl` in an image."""
    assert layer.path
    folder.mkdir()
    subprocess.run(["tar", "-xpzf", layer.path, "-C", folder], check=True)
    return folder / "opt" / "deployctl"


def test_packages_can_be_imported_and_their_scripts_run(
    wheels: Path, install: Install, tmp_path: Path
) -> None:
    add_wheel(
        wheels, "parrot", tag=f"cp{PYTHON.replace('.', '')}-none-manylinux_2_17_{ARCHITECTURE}"
    )
    home = unpacked(install(), tmp_path / "image")
    packages = home / "site-packages"
    program = (home / "bin" / "parrot").read_text()
    assert program.startswith(f"#!/usr/local/bin/python{PYTHON}\n")
    assert os.access(home / "bin" / "parrot", os.X_OK)
    ran = subprocess.run(
        [sys.executable, home / "bin" / "parrot"],
        env={"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "parrot runs\n"
    record = (packages / "parrot-1.0.dist-info" / "RECORD").read_text()
    assert "bin/" not in record


def test_same_wheels_give_the_same_layer(wheels: Path, install: Install) -> None:
    add_wheel(wheels, "parrot")
    first = install()
    before = os.umask(0o077)
    try:
        assert install().digest == first.digest
    finally:
        os.umask(before)


def test_requirement_without_a_wheel_is_reported(wheels: Path, install: Install) -> None:
    add_wheel(wheels, "parrot", tag="py3-none-win_amd64")
    with pytest.raises(NoWheels, match=r"cannot install 'requirements.txt'") as caught:
        install()
    assert "parrot" in str(caught.value.help)


def test_pth_file_is_rejected(wheels: Path, install: Install) -> None:
    add_wheel(wheels, "parrot", extra="parrot.pth")
    with pytest.raises(NoWheels, match=r"a requirement installs 'parrot.pth'"):
        install()


def test_pip_installs_for_its_own_python_only(
    wheels: Path, install: Install, request: pytest.FixtureRequest
) -> None:
    add_wheel(wheels, "parrot")
    if request.node.callspec.params["install"] == "uv":
        install(python="3.13")
    else:
        with pytest.raises(NoWheels, match=f"installs for '{PYTHON} linux {ARCHITECTURE}'"):
            install(python="3.13")


def test_auto_image_has_the_requirements_below_the_project(
    registry: LocalRegistry, env: dict[str, str], wheels: Path, tmp_path: Path
) -> None:
    """They are installed once, and found again if only the project has changed."""
    add_wheel(wheels, "parrot")
    project, base = tmp_path / "flows", f"{registry.host}/tests/python-{tmp_path.name}"
    project.mkdir()
    (project / "requirements.txt").write_text("parrot\n")
    (project / "Dockerfile").write_text(
        f"FROM scratch\nENV PYTHON_VERSION={PYTHON}.1 PATH=/usr/local/bin\nWORKDIR /opt/prefect\n"
    )
    pythons = iter([sys.executable])
    with AssembleBuilder(
        env=env, on_output=lambda *_: None, python=lambda: next(pythons)
    ) as builder:

        def pushed(name: str, dockerfile: str) -> Image:
            spec = BuildSpec(name, project, dockerfile, tag="1")
            source = read_source(spec, lambda: ProjectVersions("3.8.8+dev", PYTHON))
            text = re.sub("FROM prefecthq.*", f"FROM {base}:1", source.text)
            built = builder.build(spec, replace(source, text=text), None)
            return builder.push(built, ["1"], None)

        pushed(base, "Dockerfile")
        first = resolved(pushed(f"{base}-app", AUTO))
        (project / "flow.py").write_text("")
        second = resolved(pushed(f"{base}-app", AUTO))
    assert len(first.layers) == 3
    assert first.layers[:2] == second.layers[:2]
    assert first.layers[2] != second.layers[2]
    assert second.config["config"] == {
        "Env": [
            "PATH=/opt/deployctl/bin:/usr/local/bin",
            f"PYTHON_VERSION={PYTHON}.1",
            "PYTHONPATH=/opt/deployctl/site-packages",
        ],
        "WorkingDir": "/opt/prefect/flows",
    }


def resolved(image: Image) -> ResolvedImage:
    registries = Registries(CredentialStore({}))
    try:
        return registries.resolve(ImageReference.parse(image.pinned))
    finally:
        registries.close()
