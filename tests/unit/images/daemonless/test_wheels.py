"""Requirements for a layer of wheels: what is asked for, and where it goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployctl.images.daemonless.wheels import NoWheels, WheelSpec, environment, wheel_spec
from deployctl.images.platform import Platform

ENV = {"PATH": "/usr/local/bin:/bin", "PYTHON_VERSION": "3.11.9"}
AMD64 = Platform("linux", "amd64")
IMAGE = "prefecthq/prefect:3.8.8-python3.11"


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("pandas\n")
    return path


def test_what_is_wanted_follows_the_base_image(requirements: Path) -> None:
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
def test_the_prefect_of_the_image_counts_unless_it_is_named_or_all_have_hashes(
    requirements: Path, text: str, image: str, prefect: str | None
) -> None:
    requirements.write_text(text)
    assert wheel_spec(requirements, image, ENV, AMD64).prefect == prefect


@pytest.mark.parametrize(
    ("env", "platform", "reason"),
    [
        ({"PATH": "/usr/local/bin"}, AMD64, "cannot be known"),
        ({**ENV, "PATH": "/bin"}, AMD64, "cannot be known"),
        ({**ENV, "VIRTUAL_ENV": "/venv"}, AMD64, "cannot be known"),
        (ENV, Platform("linux", "s390x"), "linux/s390x"),
        (ENV, Platform("windows", "amd64"), "windows/amd64"),
    ],
)
def test_an_unknown_kind_of_base_is_refused(
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
def test_a_layer_that_is_of_more_than_the_file_is_not_found_again(
    requirements: Path, line: str
) -> None:
    requirements.write_text(f"pandas\n{line}\n")
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).key is None


@pytest.mark.parametrize(
    "line",
    [
        *("pandas[a]==2 # a/b", "-i https://x.example/simple", "--index-url=https://x.example/"),
        *("x @ https://x.example/x.whl", "https://x.example/x.whl", 'x.y; os_name == "a/b"'),
    ],
)
def test_what_has_an_address_is_known_by_it(requirements: Path, line: str) -> None:
    requirements.write_text(line)
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).key


def test_requirements_that_begin_with_a_mark_of_utf_8(requirements: Path) -> None:
    requirements.write_text("\ufeffprefect\n", encoding="utf-8")
    assert wheel_spec(requirements, IMAGE, ENV, AMD64).prefect is None


def test_requirements_in_another_encoding_are_refused(requirements: Path) -> None:
    requirements.write_text("pandas\n", encoding="utf-16")
    with pytest.raises(NoWheels, match=r"'requirements.txt' is not a text in UTF-8"):
        wheel_spec(requirements, IMAGE, ENV, AMD64)


def test_requirements_that_cannot_be_read_are_refused(requirements: Path) -> None:
    requirements.unlink()
    requirements.mkdir()
    with pytest.raises(NoWheels, match=r"'requirements.txt' cannot be read: Is a directory"):
        wheel_spec(requirements, IMAGE, ENV, AMD64)


def test_the_key_is_of_all_that_decides(requirements: Path) -> None:
    one = wheel_spec(requirements, IMAGE, ENV, AMD64)
    others = [
        wheel_spec(requirements, IMAGE, {**ENV, "PYTHON_VERSION": "3.12.1"}, AMD64),
        wheel_spec(requirements, IMAGE, ENV, Platform("linux", "arm64")),
        wheel_spec(requirements, "prefect:3.8.7-python3.11", ENV, AMD64),
    ]
    keys = {one.key, *(each.key for each in others)}
    requirements.write_text("pandas==2\n")
    assert len(keys | {one.key}) == 5


def test_the_variables_put_the_packages_first() -> None:
    home = "/opt/deployctl"
    assert environment({"PATH": "/bin", "PYTHONPATH": "/x"}) == {
        "PATH": f"{home}/bin:/bin",
        "PYTHONPATH": f"{home}/site-packages:/x",
    }
    assert environment({"PATH": "/bin"})["PYTHONPATH"] == f"{home}/site-packages"
