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
WANTED = f'Bearer realm="{REALM}",service="registry"'
PULL = ("repository:team/app:pull",)
PUSH = ("repository:team/app:pull,push",)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="Registry"'], [Challenge("basic", {"realm": "Registry"})]),
        (["BASIC"], [Challenge("basic", {})]),
        (
            [f'{WANTED},scope="repository:a/b:pull,push"'],
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
def test_what_a_registry_wants(headers: list[str], expected: list[Challenge]) -> None:
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
def test_what_is_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


class TokenServer:
    """Gives numbered tokens, and notes who asked."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = []
        self.answer = answer

    def __call__(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> bytes:
        self.asked.append((method, url, headers, content))
        return self.answer or json.dumps({"token": f"token-{len(self.asked)}"}).encode()


def test_nothing_is_sent_before_the_registry_wants_it() -> None:
    server = TokenServer()
    assert Authenticator("r.example.com", Credentials("ali", "sesame"), server).header(PULL) is None
    assert server.asked == []


def test_a_token_is_asked_for_once_per_scope() -> None:
    server = TokenServer()
    authority = Authenticator("r.example.com", Credentials("ali", "sesame"), server)
    assert authority.learn([WANTED], PULL, None) == "Bearer token-1"
    assert authority.header(PUSH) == "Bearer token-2"
    assert authority.header(PULL) == "Bearer token-1"
    _, url, headers, _ = server.asked[1]
    query = parse_qs(urlsplit(url).query)
    assert query == {"service": ["registry"], "scope": list(PUSH), "account": ["ali"]}
    assert headers == {"Authorization": "Basic YWxpOnNlc2FtZQ=="}


def test_a_token_that_is_refused_is_asked_for_anew() -> None:
    authority = Authenticator("r.example.com", None, TokenServer())
    first = authority.learn([WANTED], PULL, None)
    assert authority.learn([WANTED], PULL, first) == "Bearer token-2"


def test_a_token_that_another_thread_has_renewed_is_kept() -> None:
    server = TokenServer()
    authority = Authenticator("r.example.com", None, server)
    first = authority.learn([WANTED], PULL, None)
    second = authority.learn([WANTED], PULL, first)
    assert authority.learn([WANTED], PULL, first) == second
    assert len(server.asked) == 2


def test_an_identity_token_is_exchanged() -> None:
    server = TokenServer(b'{"access_token": "given"}')
    authority = Authenticator("r.example.com", Credentials(identity_token="identity"), server)
    assert authority.learn([WANTED], PUSH, None) == "Bearer given"
    method, url, headers, content = server.asked[0]
    assert (method, url, "Authorization" in headers) == ("POST", REALM, False)
    assert parse_qs((content or b"").decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["identity"],
        "service": ["registry"],
        "client_id": ["deployctl"],
        "scope": list(PUSH),
    }


def test_a_password_that_is_refused_is_not_sent_again() -> None:
    authority = Authenticator("r.example.com", Credentials("ali", "sesame"), TokenServer())
    basic = authority.learn(['Basic realm="x"'], PULL, None)
    assert basic == "Basic YWxpOnNlc2FtZQ=="
    assert authority.learn(['Basic realm="x"'], PULL, basic) is None


@pytest.mark.parametrize("wanted", [['Basic realm="x"'], ["Negotiate"], []])
def test_nobody_has_no_answer_to_it(wanted: list[str]) -> None:
    assert Authenticator("r.example.com", None, TokenServer()).learn(wanted, PULL, None) is None


def test_a_login_is_not_sent_unencrypted() -> None:
    server = TokenServer()
    authority = Authenticator("r.example.com", Credentials("ali", "sesame"), server)
    with pytest.raises(Denied, match=r"unencrypted to 'auth\.example\.com'"):
        authority.learn(['Bearer realm="http://auth.example.com/token"'], PULL, None)
    assert server.asked == []


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"[]", b'{"token": ""}'])
def test_a_token_server_that_gives_none(answer: bytes) -> None:
    authority = Authenticator("r.example.com", None, TokenServer(answer))
    with pytest.raises(RegistryError, match=r"'auth\.example\.com' of the registry"):
        authority.learn([WANTED], PULL, None)


def test_a_login_does_not_show_its_secrets() -> None:
    shown = repr(Credentials("ali", "sesame", "identity"))
    assert "sesame" not in shown
    assert "identity'" not in shown
