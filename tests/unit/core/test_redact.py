"""Redaction of secrets."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from urllib.parse import quote

import pytest

from deployctl.core import redact
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK, is_secret_name, mask_secrets


def test_masks_registered_secret_anywhere_in_text() -> None:
    redact.register_secrets(["hunter22", None, "", "abc"])
    assert redact.redact("key hunter22, abc") == f"key {MASK}, abc"


def test_masks_base64_form_of_secret() -> None:
    redact.register_secrets(["user:pass"])
    assert redact.redact("Basic dXNlcjpwYXNz") == f"Basic {MASK}"


def test_masks_single_lines_of_secret() -> None:
    redact.register_secrets(["{\n  'key': 'hunter22'\n}"])
    assert redact.redact("{\nsaid 'key': 'hunter22'\n}") == f"{{\nsaid {MASK}\n}}"


def test_does_not_register_common_words() -> None:
    redact.register_secrets(["true", "False", "none"])
    assert redact.redact("true, False and none of it") == "true, False and none of it"


def test_masks_longest_secret_first() -> None:
    redact.register_secrets(["abcd", "abcdefgh"])
    assert redact.redact("abcdefgh") == MASK


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(lambda secret: f"x {secret} y", id="as it is"),
        pytest.param(lambda secret: json.dumps({"a": secret}), id="JSON"),
        pytest.param(lambda secret: json.dumps(secret, ensure_ascii=False), id="JSON in UTF-8"),
        pytest.param(lambda secret: f"the line {secret!r}", id="Python"),
        pytest.param(lambda secret: shlex.join(["curl", f"X: {secret} y"]), id="shell"),
        pytest.param(lambda secret: f"https://host/?key={quote(secret, safe='')}", id="URL"),
    ],
)
@pytest.mark.parametrize(
    "secret", ['hun"ter22', "hun'ter22", "hun\\ter22", "hün ter&22", "a\"b'c\\d"]
)
def test_masks_quoted_forms_of_secret(show: Callable[[str], str], secret: str) -> None:
    redact.register_secrets([secret])
    shown = redact.redact(show(secret))
    assert MASK in shown
    assert "ter" not in shown
    assert "22" not in shown


def test_masks_secret_without_the_quotes_that_a_shell_removes() -> None:
    redact.register_secrets(['hun"ter"22'])
    assert redact.redact("got hunter22") == f"got {MASK}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("it is opensesame", True),
        ({"a": ["x", "opensesame"]}, True),
        ("b3BlbnNlc2FtZQ==", True),
        ("latest", False),
        ("test", True),
        ("4711", True),
        (4711, True),
        (47110, False),
        ("a 4711", False),
        ({"a": [None, "test"]}, True),
        ("of-our-side", False),
        (True, False),
        (None, False),
    ],
)
def test_finds_stored_secrets(value: Json, expected: bool) -> None:
    redact.register_secrets(["opensesame", "test", "4711", "true"], stored=True)
    redact.register_secrets(["of-our-side"])
    assert redact.contains_stored_secret(value) is expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pw@host/api", f"https://{MASK}@host/api"),
        ("https://me:p@w@host/api", f"https://{MASK}@host/api"),
        ("http://token@host", f"http://{MASK}@host"),
        ("postgresql+asyncpg://me:pw@host/db", f"postgresql+asyncpg://{MASK}@host/db"),
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("https://host/a?mail=me@host", "https://host/a?mail=me@host"),
        ("ssh://git@host/repo", "ssh://git@host/repo"),
        ("'http://host:80' of me@host", "'http://host:80' of me@host"),
    ],
)
def test_masks_passwords_in_urls(url: str, shown: str) -> None:
    assert redact.redact(url) == shown


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("DB_PASSWORD", True),
        ("api_key", True),
        ("GITHUB_TOKEN", True),
        ("client_secret", True),
        ("DATABASE_URL", True),
        ("image", False),
        ("namespace", False),
        ("service_account_name", False),
        ("author", False),
    ],
)
def test_recognises_secret_names(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"env": {"TOKEN": "t0k3n", "REGION": "eu"}}, {"env": {"TOKEN": MASK, "REGION": "eu"}}),
        (
            {"password": "{{ prefect.blocks.secret.x }}"},
            {"password": "{{ prefect.blocks.secret.x }}"},
        ),
        ([{"password": ["a", "b"]}], [{"password": [MASK, MASK]}]),
        ({"password": None, "tries": 3}, {"password": None, "tries": 3}),
        ({"password": 987654321, "token": ""}, {"password": MASK, "token": ""}),
        ({"tokens": {"value": "x", "n": 1.5}}, {"tokens": {"value": MASK, "n": MASK}}),
        (
            {"credentials": [{"user": "u"}, {"key": {"id": True}}]},
            {"credentials": [{"user": MASK}, {"key": {"id": MASK}}]},
        ),
    ],
)
def test_masks_values_below_secret_names(value: Json, shown: Json) -> None:
    assert mask_secrets(value) == shown


def test_masks_below_secret_name_of_caller() -> None:
    assert mask_secrets({"value": "x"}, "env", "TOKENS") == {"value": MASK}


def test_finds_strings_and_numbers_below_secret_names() -> None:
    value = {
        "password": 987654321,
        "tokens": {"a": ["one", None, True, "{{ x }}"]},
        "image": "app",
    }
    assert list(redact.find_secrets(value)) == ["987654321", "one"]


def test_username_and_registry_url_are_not_secret() -> None:
    """Image names often contain both."""
    login = {"username": "mycompany", "password": "hunter22", "registry_url": "reg.test"}
    assert list(redact.find_secrets({"credentials": login})) == ["hunter22"]
