from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from deployctl.clients.registry.auth import (
    Authenticator,
    Challenge,
    Credentials,
    is_loopback,
    parse_challenges,
)
from deployctl.clients.registry.errors import Denied, RegistryError

REALM = "https://auth.example.com/token"
BEARER = f'Bearer realm="{REALM}",service="registry"'
PULL = ("repository:team/app:pull",)
PUSH = ("repository:team/app:pull,push",)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="Registry"'], [Challenge("basic", {"realm": "Registry"})]),
        (["BASIC"], [Challenge("basic", {})]),
        (
            [f'{BEARER},scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {"realm": REALM, "service": "registry", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            [r'Bearer Realm = "a \"b\"" , service=c'],
            [Challenge("bearer", {"realm": 'a "b"', "service": "c"})],
        ),
        (
            ['Negotiate, Basic realm="x"', "Bearer realm=y"],
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "x"}),
                Challenge("bearer", {"realm": "y"}),
            ],
        ),
        ([""], []),
        ([], []),
    ],
)
def test_challenges_are_parsed(headers: list[str], expected: list[Challenge]) -> None:
    assert parse_challenges(headers) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.0.1", True),
        ("[::1]:5000", True),
        ("registry.localhost", True),
        ("localhost.example.com", False),
        ("10.0.0.1:5000", False),
        ("registry.example.com", False),
    ],
)
def test_loopback_hosts(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


class TokenServer:
    """Returns numbered tokens and records requests."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.requests: list[tuple[str, str, Mapping[str, str], bytes | None]] = []
        self.answer = answer

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> bytes:
        self.requests.append((method, url, headers, content))
        return self.answer or json.dumps({"token": f"token-{len(self.requests)}"}).encode()


def test_no_credentials_before_a_challenge() -> None:
    server = TokenServer()
    assert Authenticator("r.example.com", Credentials("ali", "sesame"), server).header(PULL) is None
    assert server.requests == []


def test_token_is_requested_once_per_scope() -> None:
    server = TokenServer()
    authenticator = Authenticator("r.example.com", Credentials("ali", "sesame"), server)
    assert authenticator.respond([BEARER], PULL, None) == "Bearer token-1"
    assert authenticator.header(PUSH) == "Bearer token-2"
    assert authenticator.header(PULL) == "Bearer token-1"
    _, url, headers, _ = server.requests[1]
    query = parse_qs(urlsplit(url).query)
    assert query == {"service": ["registry"], "scope": list(PUSH), "account": ["ali"]}
    assert headers == {"Authorization": "Basic YWxpOnNlc2FtZQ=="}


def test_rejected_token_is_renewed() -> None:
    authenticator = Authenticator("r.example.com", None, TokenServer())
    first = authenticator.respond([BEARER], PULL, None)
    assert authenticator.respond([BEARER], PULL, first) == "Bearer token-2"


def test_token_renewed_by_another_thread_is_kept() -> None:
    server = TokenServer()
    authenticator = Authenticator("r.example.com", None, server)
    first = authenticator.respond([BEARER], PULL, None)
    second = authenticator.respond([BEARER], PULL, first)
    assert authenticator.respond([BEARER], PULL, first) == second
    assert len(server.requests) == 2


def test_identity_token_is_exchanged() -> None:
    server = TokenServer(b'{"access_token": "given"}')
    authenticator = Authenticator("r.example.com", Credentials(identity_token="identity"), server)
    assert authenticator.respond([BEARER], PUSH, None) == "Bearer given"
    method, url, headers, content = server.requests[0]
    assert (method, url, "Authorization" in headers) == ("POST", REALM, False)
    assert parse_qs((content or b"").decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["identity"],
        "service": ["registry"],
        "client_id": ["deployctl"],
        "scope": list(PUSH),
    }


def test_rejected_password_is_not_sent_again() -> None:
    authenticator = Authenticator("r.example.com", Credentials("ali", "sesame"), TokenServer())
    basic = authenticator.respond(['Basic realm="x"'], PULL, None)
    assert basic == "Basic YWxpOnNlc2FtZQ=="
    assert authenticator.respond(['Basic realm="x"'], PULL, basic) is None


@pytest.mark.parametrize("headers", [['Basic realm="x"'], ["Negotiate"], []])
def test_anonymous_client_has_no_response_to_basic(headers: list[str]) -> None:
    assert Authenticator("r.example.com", None, TokenServer()).respond(headers, PULL, None) is None


def test_credentials_are_not_sent_unencrypted() -> None:
    server = TokenServer()
    authenticator = Authenticator("r.example.com", Credentials("ali", "sesame"), server)
    with pytest.raises(Denied, match=r"unencrypted to 'auth\.example\.com'"):
        authenticator.respond(['Bearer realm="http://auth.example.com/token"'], PULL, None)
    assert server.requests == []


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b'{"token": ""}'])
def test_token_server_without_a_token(answer: bytes) -> None:
    authenticator = Authenticator("r.example.com", None, TokenServer(answer))
    with pytest.raises(RegistryError, match=r"'auth\.example\.com' of the registry"):
        authenticator.respond([BEARER], PULL, None)


def test_repr_of_credentials_hides_secrets() -> None:
    shown = repr(Credentials("ali", "sesame", "identity"))
    assert "sesame" not in shown
    assert "identity'" not in shown
