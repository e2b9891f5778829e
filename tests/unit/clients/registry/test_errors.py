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
    response_error,
)


def error_body(code: str, message: str = "") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, error_body("MANIFEST_UNKNOWN"), NotInRegistry),
        (404, b"", NotInRegistry),
        (401, error_body("UNAUTHORIZED"), Denied),
        (403, b"<html>", Denied),
        (400, error_body("DENIED"), Denied),
        (404, error_body("DENIED"), Denied),
        (413, b"<html>", TooLarge),
        (507, b"", TooLarge),
        (403, error_body("DENIED", "the Quota of the project is used up"), TooLarge),
        (429, b"", RateLimited),
        (503, error_body("TOOMANYREQUESTS"), RateLimited),
        (400, error_body("DIGEST_INVALID"), DigestMismatch),
        (500, b"", RegistryFault),
        (408, b"", RegistryFault),
        (405, error_body("UNSUPPORTED"), RegistryError),
        (400, b'{"errors": "no list"}', RegistryError),
        (400, b"[1]", RegistryError),
    ],
)
def test_errors_are_classified_by_status_and_code(
    status: int, body: bytes, expected: type[RegistryError]
) -> None:
    assert type(response_error("r.example.com", "read 'a:1'", status, body, None)) is expected


def test_message_contains_action_registry_and_explanation() -> None:
    error = response_error(
        "r.example.com", "read 'a:1'", 404, error_body("X", "manifest unknown"), None
    )
    assert error.message == (
        "cannot read 'a:1': the registry 'r.example.com' answers 404: manifest unknown"
    )


@pytest.mark.parametrize(
    ("status", "user", "expected"),
    [
        (401, None, "Log in with `docker login r.example.com`"),
        (403, None, "Log in with `docker login r.example.com`"),
        (401, "ali", "The password of 'ali' is wrong or has expired"),
        (403, "ali", "Give 'ali' the permission"),
    ],
)
def test_help_of_denied_access(status: int, user: str | None, expected: str) -> None:
    assert (response_error("r.example.com", "read", status, b"", user).help or "").startswith(
        expected
    )


def test_secret_repeated_by_a_registry_is_masked() -> None:
    Credentials("ali", "rosebud-9")
    error = response_error(
        "r.example.com", "read", 401, error_body("X", "not rosebud-9, ali"), "ali"
    )
    assert error.message.endswith("answers 401: not ********, ali")
