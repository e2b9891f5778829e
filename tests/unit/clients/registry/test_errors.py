from __future__ import annotations

import json

import pytest

from deployctl.clients.registry.auth import Credentials
from deployctl.clients.registry.errors import (
    Denied,
    DigestMismatch,
    NotInRegistry,
    RateLimited,
    RegistryError,
    RegistryFault,
    TooLarge,
    refused,
)


def said(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, said("MANIFEST_UNKNOWN"), NotInRegistry),
        (404, b"", NotInRegistry),
        (401, said("UNAUTHORIZED"), Denied),
        (403, b"<html>", Denied),
        (400, said("DENIED"), Denied),
        (404, said("DENIED"), Denied),
        (413, b"<html>", TooLarge),
        (507, b"", TooLarge),
        (403, said("DENIED", "the Quota of the project is used up"), TooLarge),
        (429, b"", RateLimited),
        (503, said("TOOMANYREQUESTS"), RateLimited),
        (400, said("DIGEST_INVALID"), DigestMismatch),
        (500, b"", RegistryFault),
        (408, b"", RegistryFault),
        (405, said("UNSUPPORTED"), RegistryError),
        (400, b'{"errors": "no list"}', RegistryError),
        (400, b"[1]", RegistryError),
    ],
)
def test_what_a_status_and_a_code_mean(
    status: int, body: bytes, expected: type[RegistryError]
) -> None:
    assert type(refused("r.example.com", "read 'a:1'", status, body, None)) is expected


def test_a_message_says_what_was_wanted_of_whom_and_what_it_says() -> None:
    error = refused("r.example.com", "read 'a:1'", 404, said("X", "manifest unknown"), None)
    assert error.message == (
        "cannot read 'a:1': the registry 'r.example.com' answers 404: manifest unknown"
    )


@pytest.mark.parametrize(
    ("status", "user", "expected"),
    [
        (401, None, "log in with `docker login r.example.com`"),
        (403, None, "log in with `docker login r.example.com`"),
        (401, "ali", "the login of 'ali' is wrong or has expired"),
        (403, "ali", "let 'ali' do it"),
    ],
)
def test_the_way_in(status: int, user: str | None, expected: str) -> None:
    assert (refused("r.example.com", "read", status, b"", user).help or "").startswith(expected)


def test_a_secret_that_a_registry_repeats_is_masked() -> None:
    Credentials("ali", "rosebud-9")
    error = refused("r.example.com", "read", 401, said("X", "not rosebud-9, ali"), "ali")
    assert error.message.endswith("answers 401: not ********, ali")
