"""Keeps secrets out of everything that is shown.

Two nets: values that are known to be secret (credentials, block values) are replaced wherever they
turn up, and values that stand under a name such as `password` are masked when data is shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterable

from deployctl.core.values import Json

MASK = "********"
"""Eight asterisks: what the Prefect server itself shows in place of a secret."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|auth(_?string|orization)?$|credential|private_?key|"
    r"connection_?(string|url)$|(database|db|redis|broker)_?(url|uri|dsn)$|\bdsn$",
    re.IGNORECASE,
)
_URL_USER = re.compile(r"(?<=://)[^/@\s:]*:[^/@\s]+(?=@)")

_known: set[str] = set()
_lock = threading.Lock()


def remember(secrets: Iterable[str | None]) -> None:
    """Adds values that must never be shown again in this process; short ones are ignored."""
    with _lock:
        for secret in secrets:
            if secret and len(secret) >= 4:
                _known.add(secret)
                _known.add(base64.b64encode(secret.encode()).decode())


def redact(text: str) -> str:
    """`text` without any known secret and without passwords in URLs."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _URL_USER.sub(MASK, text)


def is_secret_name(name: str) -> bool:
    """Whether a value under this name should be masked: `DB_PASSWORD`, `api_key`, …"""
    return bool(_SECRET_NAME.search(name))


def masked(value: Json, name: str = "") -> Json:
    """A copy of `value` to show: known secrets, and leaves under secret names, are masked."""
    if isinstance(value, dict):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if isinstance(value, str):
        if is_secret_name(name) and value and "{{" not in value:
            return MASK
        return redact(value)
    return value
