"""Names of the variables that stand for secrets in exported files."""

from __future__ import annotations

import pytest

from deployctl.app.exporting.secrets import Secrets
from deployctl.core.json_values import Json


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"DB_PASSWORD": "x"}, ["DB_PASSWORD"]),
        ({"env": {"api_key": "x"}}, ["API_KEY"]),
        ({"credentials": {"user": "bob", "home": "/x"}}, ["CREDENTIALS_USER", "CREDENTIALS_HOME"]),
        ({"a": {"password": "x"}, "b": {"password": "y"}}, ["PASSWORD", "PASSWORD_2"]),
        ({"command": "ghp_12345678"}, ["COMMAND"]),
    ],
)
def test_variables_are_named_from_the_secret_key_on(value: Json, names: list[str]) -> None:
    secrets = Secrets()
    secrets.replace(value)
    assert list(secrets.values) == names
