"""What a file holds under secret names is shown by no excerpt and no message."""

from __future__ import annotations

import pytest

from deployctl.core import redact
from deployctl.core.redact import MASK
from tests.unit.project.reading import deployment, parsed


@pytest.mark.parametrize(
    "text",
    [
        "a: {password: hunter22, b: 1}",
        "api_key: 'hunter22'",
        'token: "hunter22"',
        "password: hunter22\npassword: other",
        "credentials: {user: [hunter22]}",
        "private_key: |\n  BEGIN\n  hunter22\n  END",
        'a: &x {password: "hunter22"}\nb: *x',
        "a: {password: hunter22}\nb: [",
        "password: hunter22\nb: c: d",
        "- env: {PASSWORD: 'hunter22'}\n  b: c: d",
        "password: hunter22\n\x01: 1",
        "password: hunter22\na: &x [*x, !!python/x 1]",
    ],
)
def test_no_line_of_the_file_shows_a_secret(text: str) -> None:
    parsed(text)
    assert "hunter22" not in redact.redact(text)
    assert MASK in redact.redact(text)


def test_redacts_both_source_text_and_value_of_a_secret() -> None:
    parsed('password: "hun\\u0074er22"\npin_token: 0x12345')
    for form in ("hunter22", "hun\\u0074er22", "0x12345"):
        assert redact.redact(form) == MASK


@pytest.mark.parametrize(
    "text",
    [
        "password: '{{ $HUNTER22 }}'",
        "password: true",
        "password: null",
        "password: abc",
        "credentials: {username: mycompany, registry_url: reg.test}\nimage: reg.test/mycompany/app",
        "name: hunter22",
        "password: {type: string, title: hunter22}",
        "token: {anyOf: [{type: string}], title: hunter22}",
    ],
)
def test_does_not_redact_other_values(text: str) -> None:
    parsed(text)
    assert redact.redact(text) == text


def test_a_default_in_a_schema_is_a_secret() -> None:
    parsed("password: {type: string, default: hunter22}")
    assert redact.redact("string hunter22") == f"string {MASK}"


def test_an_environment_variable_under_a_secret_name_is_a_secret() -> None:
    deployment("parameters: {password: '{{ $PW }}'}", {"PW": "hunter22"})
    assert redact.redact("hunter22") == MASK
