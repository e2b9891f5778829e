"""Selection of wheels for a layer, and its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.daemonless.wheels import NoWheels, WheelSpec, layer_environment, wheel_spec
from deployctl.images.platform import Platform

ENV = {"PATH": "/usr/local/bin:/bin", "PYTHON_VERSION": "3.11.9"}
AMD64 = Platform("linux", "amd64")
IMAGE = "prefecthq/prefect:3.8.8-python3.11"


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("pandas\n")
    return path


def test_wheel_spec_follows_the_base_image(requirements: Path) -> None:
    found = wheel_spec(requirements, IMAGE, ENV, Platform("linux", "arm64"))
    assert found == WheelSpec(requirements, "3.11", "aarch64", "3.8.8")


@pytest.mark.parametrize(
    ("text", "image", "prefect"),
    [
        ("pandas", IMAGE, "3.8.8"),
        ("pandas", "registry.example.com/prefect:3.9.0rc1-python3.12", "3.9.0rc1"),
        ("pandas\nPrefect>=3\n", IMAGE, None),
        ("prefect[aws]", IMAGE, None),
        ("prefect-aws", IMAGE, "3.8.8"),
        ("pandas==2.0 \\\n  --hash=sha256:1", IMAGE, None),
        ("pandas", "prefecthq/prefect-dev:sha-1234567-python3.11", None),
    ],
)
def test_prefect_of_the_image_is_added_unless_required_or_hashed(
    requirements: Path, text: str, image: str, prefect: str | None
) -> None:
    requirements.write_text(text)
    assert wheel_spec(requirements, image, ENV, AMD64).prefect == prefect


@pytest.mark.parametrize(
    ("env", "platform", "reason"),
    [
        ({"PATH": "/usr/local/bin"}, AMD64, "cannot find the version and location of Python"),
        ({**ENV, "PATH": "/bin"}, AMD64, "cannot find the version and location of Python"),
        ({**ENV, "VIRTUAL_ENV": "/venv"}, AMD64, "cannot find the version and location of Python"),
        (ENV, Platform("linux", "s390x"), "linux/s390x"),
        (ENV, Platform("windows", "amd64"), "windows/amd64"),
    ],
)
def test_unknown_kind_of_base_image_is_rejected(
    requirements: Path, env: dict[str, str], platform: Platform, reason: str
) -> None:
    with pytest.raises(NoWheels, match=reason):
        wheel_spec(requirements, IMAGE, env, platform)


@pytest.mark.parametrize(
    "line",
    [
        *("-r more.txt", " -c pins.txt", "-e .", "./here", "/there", "x @ file:///x.whl"),
        *("-f wheels", "--find-links=wheels", "wheels/x-1-py3-none-any.whl", "libs/x", "x.tar.gz"),
    ],
)
def test_requirements_by_path_have_no_key(requirements: Path, line: str) -> None:
    requirements.write_text(f"pandas\n{line}\n")
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).key is None


@pytest.mark.parametrize(
    "line",
    [
        *("pandas[a]==2 # a/b", "-i https://x.example/simple", "--index-url=https://x.example/"),
        *("x @ https://x.example/x.whl", "https://x.example/x.whl", 'x.y; os_name == "a/b"'),
    ],
)
def test_requirements_by_url_have_a_key(requirements: Path, line: str) -> None:
    requirements.write_text(line)
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).key


def test_requirements_with_a_byte_order_mark(requirements: Path) -> None:
    requirements.write_text("\ufeffprefect\n", encoding="utf-8")
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).prefect is None


def test_requirements_in_another_encoding_are_rejected(requirements: Path) -> None:
    requirements.write_text("pandas\n", encoding="utf-16")
    with pytest.raises(NoWheels, match=r"'requirements.txt' is not valid UTF-8"):
        wheel_spec(requirements, IMAGE, ENV, AMD64)


def test_unreadable_requirements_are_rejected(requirements: Path) -> None:
    requirements.unlink()
    requirements.mkdir()
    with pytest.raises(NoWheels, match=r"cannot read 'requirements.txt': Is a directory"):
        wheel_spec(requirements, IMAGE, ENV, AMD64)


def test_key_depends_on_every_input(requirements: Path) -> None:
    one = wheel_spec(requirements, IMAGE, ENV, AMD64)
    others = [
        wheel_spec(requirements, IMAGE, {**ENV, "PYTHON_VERSION": "3.12.1"}, AMD64),
        wheel_spec(requirements, IMAGE, ENV, Platform("linux", "arm64")),
        wheel_spec(requirements, "prefect:3.8.7-python3.11", ENV, AMD64),
    ]
    keys = {one.key, *(each.key for each in others)}
    requirements.write_text("pandas==2\n")
    assert len(keys | {one.key}) == 5


def test_environment_puts_the_packages_first() -> None:
    home = "/opt/deployctl"
    assert layer_environment({"PATH": "/bin", "PYTHONPATH": "/x"}) == {
        "PATH": f"{home}/bin:/bin",
        "PYTHONPATH": f"{home}/site-packages:/x",
    }
    assert layer_environment({"PATH": "/bin"})["PYTHONPATH"] == f"{home}/site-packages"
