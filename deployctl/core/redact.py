"""Keeps secrets out of everything that is shown.

Two nets: values that are known to be secret (credentials, block values) are replaced wherever they
turn up, and values that stand under a name such as `password` are masked when data is shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterable, Iterator
from functools import cache

from deployctl.core.json_values import Json, leaves

MASK = "********"
"""Eight asterisks: what the Prefect server itself shows in place of a secret."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|auth(_?string|orization)?$|credential|private_?key|"
    r"connection_?(string|url)$|(database|db|redis|broker)_?(url|uri|dsn)$|\bdsn$",
    re.IGNORECASE,
)
NON_SECRET_NAMES = frozenset({"username", "registry_url"})
"""Names that may stand below a secret one and are none: images are often called after both."""
_URL_USER = re.compile(
    r"(?<=://)[^/?#\s:'\"]*:[^/?#\s'\"]+(?=@)"
    r"|(?:(?<=http://)|(?<=https://))[^/?#\s'\"]+(?=@)"  # a name alone is no secret of ssh://git@…
)
_USER = re.compile(r"(?<=://)[^/@]*@")

_PLAIN = frozenset({"true", "false", "none", "null"})
"""What settings like TOKENIZERS_PARALLELISM have for a value: a secret by name, and none."""

_known: set[str] = set()
_kept: set[str] = set()
_lock = threading.Lock()


def register_secrets(secrets: Iterable[str | None], *, kept: bool = False) -> None:
    """Adds values that must never be shown again in this process; short ones are ignored.

    What has lines is known by each of them too, because programs print them one by one. `kept`:
    the server keeps them as secrets, so they must not get back to it in plain text either.
    """
    with _lock:
        for secret in secrets:
            if secret and len(secret) >= 4 and secret.lower() not in _PLAIN:
                lines = {line for each in secret.splitlines() if len(line := each.strip()) >= 8}
                encoded = base64.b64encode(secret.encode()).decode()
                _known.update(lines, {secret, encoded})
                if kept and len(secret) >= 8:
                    _kept.update(lines, {secret, encoded})


def redact(text: str) -> str:
    """`text` without any known secret and without passwords and tokens in URLs."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _URL_USER.sub(MASK, text)


def contains_stored_secret(value: Json) -> bool:
    """Whether a secret that the server keeps, of eight characters or more, is in `value`.

    Shorter ones may well be part of a text that has nothing to do with them.
    """
    texts = [leaf for _, leaf in leaves(value) if isinstance(leaf, str)]
    return any(secret in text for text in texts for secret in _kept)


def strip_userinfo(url: str) -> str:
    """A URL without the user and password that it may hold: for what is stored, not shown."""
    return _USER.sub("", url)


@cache
def is_secret_name(name: str) -> bool:
    """Whether a value under this name should be masked: `DB_PASSWORD`, `api_key`, …"""
    return bool(_SECRET_NAME.search(name))


def mask_secrets(value: Json, *names: str) -> Json:
    """A copy of `value` to show: known secrets, and what stands below a secret name, are masked.

    `names` lead to the value. Null, empty text, templates, and what is no JSON stay as they are.
    """
    return _masked(value, any(map(is_secret_name, names)))


def find_secrets(value: Json) -> Iterator[str]:
    """The texts and numbers that stand below a secret name anywhere in `value`, for `remember`."""
    for path, leaf in leaves(value):
        if leaf is None or isinstance(leaf, bool) or (path and path[-1] in NON_SECRET_NAMES):
            continue
        text = str(leaf)
        if text and "{{" not in text and any(is_secret_name(str(part)) for part in path):
            yield text


def _masked(value: Json, below: bool) -> Json:
    if isinstance(value, dict):
        return {
            key: _masked(item, below or is_secret_name(str(key))) for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item, below) for item in value]
    if isinstance(value, str):
        return MASK if below and value and "{{" not in value else redact(value)
    return MASK if below and isinstance(value, int | float) else value
