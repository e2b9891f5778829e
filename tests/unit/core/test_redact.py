from __future__ import annotations

import pytest

from deployctl.core import redact
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK, is_secret_name, mask_secrets


def test_a_remembered_secret_is_masked_wherever_it_turns_up() -> None:
    redact.register_secrets(["hunter22", None, "", "abc"])
    assert redact.redact("key hunter22, abc") == f"key {MASK}, abc"


def test_the_base64_form_of_a_secret_is_masked_too() -> None:
    redact.register_secrets(["user:pass"])
    assert redact.redact("Basic dXNlcjpwYXNz") == f"Basic {MASK}"


def test_the_lines_of_a_secret_are_masked_too() -> None:
    redact.register_secrets(["{\n  'key': 'hunter22'\n}"])
    assert redact.redact("{\nsaid 'key': 'hunter22'\n}") == f"{{\nsaid {MASK}\n}}"


def test_the_value_of_a_switch_is_no_secret_whatever_its_name() -> None:
    redact.register_secrets(["true", "False", "none"])
    assert redact.redact("true, False and none of it") == "true, False and none of it"


def test_a_secret_inside_a_longer_one_does_not_uncover_it() -> None:
    redact.register_secrets(["abcd", "abcdefgh"])
    assert redact.redact("abcdefgh") == MASK


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("it is opensesame", True),
        ({"a": ["x", "opensesame"]}, True),
        ("b3BlbnNlc2FtZQ==", True),
        ("latest", False),
        ("of-our-side", False),
        (None, False),
    ],
)
def test_only_long_secrets_of_the_server_are_kept_from_it(value: Json, expected: bool) -> None:
    redact.register_secrets(["opensesame", "test"], kept=True)
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
def test_passwords_in_urls_are_masked(url: str, shown: str) -> None:
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
def test_names_that_promise_a_secret(name: str, secret: bool) -> None:
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
def test_values_are_shown_without_what_stands_under_secret_names(value: Json, shown: Json) -> None:
    assert mask_secrets(value) == shown


def test_a_name_before_the_value_counts_too() -> None:
    assert mask_secrets({"value": "x"}, "env", "TOKENS") == {"value": MASK}


def test_texts_below_secret_names_are_found() -> None:
    value = {
        "password": 987654321,
        "tokens": {"a": ["one", None, True, "{{ x }}"]},
        "image": "app",
    }
    assert list(redact.find_secrets(value)) == ["987654321", "one"]


def test_who_logs_in_where_is_no_secret() -> None:
    """Images are often called after both."""
    login = {"username": "mycompany", "password": "hunter22", "registry_url": "reg.test"}
    assert list(redact.find_secrets({"credentials": login})) == ["hunter22"]
