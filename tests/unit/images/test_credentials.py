from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.images import builder
from deployctl.images.credentials import (
    CredentialsError,
    CredentialStore,
    matching_credentials,
    registry_host,
)
from deployctl.images.reference import ImageReference

HUB = "https://index.docker.io/v1/"
ALI = Credentials("ali", "open:sesame")


def packed(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


AUTH = packed("ali:open:sesame")


def store_of(folder: Path, config: Any, **options: Any) -> CredentialStore:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    return CredentialStore(
        {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}, **options
    )


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("r.example.com", "r.example.com"),
        ("r.example.com:5000", "r.example.com:5000"),
        ("https://r.example.com", "r.example.com"),
        ("http://r.example.com/v1/", "r.example.com"),
        ("r.example.com/team/app", "r.example.com"),
        (HUB, "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_registry_of_a_key(tmp_path: Path, key: str, registry: str) -> None:
    assert registry_host(key) == registry
    assert store_of(tmp_path, {"auths": {key: AUTH}}).get(registry) == ALI


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (AUTH, ALI),
        ({"username": "ali", "password": "open:sesame"}, ALI),
        (packed("ali:open:sesame\0\0"), ALI),
        (
            packed("<token>:") | {"identitytoken": "given"},
            Credentials("<token>", "", "given"),
        ),
        ({}, None),
        (None, None),
        ({"auth": ""}, None),
    ],
)
def test_forms_of_an_entry(tmp_path: Path, entry: Any, expected: Credentials | None) -> None:
    assert store_of(tmp_path, {"auths": {"r.example.com": entry}}).get("r.example.com") == expected


def test_exact_key_takes_precedence(tmp_path: Path) -> None:
    config = {"auths": {"https://r.example.com/v1/": packed("bob:other"), "r.example.com": AUTH}}
    assert store_of(tmp_path, config).get("r.example.com") == ALI


@pytest.mark.parametrize("config", [{}, {"auths": {"r.example.com:5000": AUTH}}, {"auths": None}])
def test_no_credentials_for_the_registry(tmp_path: Path, config: Any) -> None:
    assert store_of(tmp_path, config).get("r.example.com") is None


def test_missing_file_has_no_credentials(tmp_path: Path) -> None:
    assert CredentialStore({"HOME": str(tmp_path)}).get("r.example.com") is None


def test_overrides_take_precedence(tmp_path: Path) -> None:
    given = {"r.example.com": Credentials("bob", "secret")}
    found = store_of(tmp_path, {"auths": {"r.example.com": AUTH, HUB: AUTH}}, overrides=given)
    assert found.get("r.example.com") == given["r.example.com"]
    assert found.get("docker.io") == ALI


def helper(folder: Path, name: str, script: str) -> None:
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\nread -r server\n{script}\n")
    program.chmod(0o755)


ECHO = """printf '{"ServerURL":"%s","Username":"ali","Secret":"of %s"}' "$server" "$server" """


@pytest.mark.parametrize(
    ("config", "registry", "secret"),
    [
        ({"credsStore": "all"}, "r.example.com", "of r.example.com"),
        ({"credsStore": "all"}, "docker.io", f"of {HUB}"),
        ({"credHelpers": {"r.example.com": "all"}}, "r.example.com", "of r.example.com"),
        ({"credHelpers": {"docker.io": "all"}, "credsStore": "no"}, "docker.io", f"of {HUB}"),
    ],
)
def test_credentials_from_a_helper(tmp_path: Path, config: Any, registry: str, secret: str) -> None:
    helper(tmp_path, "all", ECHO)
    assert store_of(tmp_path, config).get(registry) == Credentials("ali", secret)


def test_helper_that_returns_an_identity_token(tmp_path: Path) -> None:
    helper(tmp_path, "all", """echo '{"Username":"<token>","Secret":"given"}'""")
    found = store_of(tmp_path, {"credsStore": "all"}).get("r.example.com")
    assert found == Credentials(identity_token="given")


def test_file_is_used_if_the_helper_has_no_credentials(tmp_path: Path) -> None:
    helper(tmp_path, "all", "echo credentials not found in native keychain; exit 1")
    config = {"credsStore": "all", "auths": {"r.example.com": AUTH}}
    assert store_of(tmp_path, config).get("r.example.com") == ALI
    assert store_of(tmp_path, config).get("docker.io") is None


def test_helper_is_run_once(tmp_path: Path) -> None:
    helper(tmp_path, "all", f"echo >>{tmp_path}/asked; {ECHO}")
    found = store_of(tmp_path, {"credsStore": "all"})
    assert found.get("r.example.com") is found.get("r.example.com")
    assert (tmp_path / "asked").read_text() == "\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo locked >&2; exit 1", "failed for .*: locked"),
        ("echo open sesame", "is not a JSON object"),
        (None, "'docker-credential-all' was not found"),
    ],
)
def test_unusable_helper(tmp_path: Path, script: str | None, message: str) -> None:
    if script:
        helper(tmp_path, "all", script)
    with pytest.raises(CredentialsError, match=message) as caught:
        store_of(tmp_path, {"credsStore": "all"}).get("r.example.com")
    assert "sesame" not in caught.value.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{\n"auths": {]}', r"invalid JSON in line 2 of '.*/config\.json'"),
        ("[]", "is not a JSON object"),
        ({"auths": {"r.example.com": {"auth": "c2VzYW1l"}}}, "is not base64 of `name:password`"),
        ({"auths": {"r.example.com": {"auth": "sesame!"}}}, "is not base64 of `name:password`"),
    ],
)
def test_unusable_file(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(CredentialsError, match=message) as caught:
        store_of(tmp_path, config).get("r.example.com")
    assert "sesame" not in caught.value.message


def test_file_that_is_a_directory(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(CredentialsError, match="cannot read"):
        CredentialStore({"DOCKER_CONFIG": str(tmp_path)}).get("r.example.com")


@pytest.mark.parametrize(
    ("url", "registry"),
    [(None, "docker.io"), ("", "docker.io"), ("https://r.example.com/", "r.example.com")],
)
def test_credentials_of_a_step(url: str | None, registry: str) -> None:
    given = builder.StepCredentials("ali", "open:sesame", url or "")
    assert matching_credentials(ImageReference(registry, "team/app"), given) == {registry: ALI}


def test_credentials_of_a_step_apply_to_their_registry_only() -> None:
    given = builder.StepCredentials("ali", "open:sesame", "https://r.example.com")
    assert matching_credentials(ImageReference("other.example.com", "team/app"), given) == {}


def test_credentials_of_an_image_apply_to_its_repository_only(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"auths": {"r.example.com": AUTH}})
    pusher = builder.StepCredentials("bo", "xyzzy", "https://r.example.com")
    store.set_for_repository(ImageReference.parse("r.example.com/team/app"), pusher)
    store.set_for_repository(ImageReference.parse("other.example.com/team/app"), pusher)
    assert store.get("r.example.com", "team/app") == Credentials("bo", "xyzzy")
    assert store.get("r.example.com", "team/base") == store.get("r.example.com") == ALI
    assert store.get("other.example.com", "team/app") is None
