"""Redaction of secrets in everything that deployctl prints or logs.

Two mechanisms complement each other: registered values (credentials, values of blocks) are replaced
wherever they occur in a text, and values below a key such as `password` are masked when structured
data is shown.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterable, Iterator
from functools import cache

from deployctl.core.json_values import Json, leaves

MASK = "********"
"""Eight asterisks, which the Prefect server itself shows in place of a secret."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|auth(_?string|orization)?$|credential|private_?key|"
    r"connection_?(string|url)$|(database|db|redis|broker)_?(url|uri|dsn)$|\bdsn$",
    re.IGNORECASE,
)
NON_SECRET_NAMES = frozenset({"username", "registry_url"})
"""Keys below a secret name whose values are not secret: image names often contain both."""
_URL_USERINFO = re.compile(
    r"(?<=://)[^/?#\s:'\"]*:[^/?#\s'\"]+(?=@)"
    r"|(?:(?<=http://)|(?<=https://))[^/?#\s'\"]+(?=@)"  # a user alone is no secret in ssh://git@…
)
_USERINFO = re.compile(r"(?<=://)[^/@]*@")

_COMMON_WORDS = frozenset({"true", "false", "none", "null"})
"""Values that are never registered: a variable like TOKENIZERS_PARALLELISM is secret by its name
only."""

_registered: set[str] = set()
_stored: set[str] = set()
_lock = threading.Lock()


def register_secrets(secrets: Iterable[str | None], *, stored: bool = False) -> None:
    """Registers values that this process must never show; values under 4 characters are ignored.

    The lines of a multi-line value are registered too, because programs print them one by one.
    `stored` marks secrets that the server stores as such: they must not be sent to it in plain text
    either (see `contains_stored_secret`).
    """
    with _lock:
        for secret in secrets:
            if secret and len(secret) >= 4 and secret.lower() not in _COMMON_WORDS:
                lines = {text for line in secret.splitlines() if len(text := line.strip()) >= 8}
                encoded = base64.b64encode(secret.encode()).decode()
                _registered.update(lines, {secret, encoded})
                if stored and len(secret) >= 8:
                    _stored.update(lines, {secret, encoded})


def redact(text: str) -> str:
    """Masks registered secrets, and passwords and tokens in URLs."""
    for secret in sorted(_registered, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _URL_USERINFO.sub(MASK, text)


def contains_stored_secret(value: Json) -> bool:
    """Whether `value` contains a secret of at least 8 characters that the server stores as such.

    A shorter secret may occur in an unrelated text by chance.
    """
    texts = [leaf for _, leaf in leaves(value) if isinstance(leaf, str)]
    return any(secret in text for text in texts for secret in _stored)


def strip_userinfo(url: str) -> str:
    """Removes user and password from a URL that is going to be stored."""
    return _USERINFO.sub("", url)


@cache
def is_secret_name(name: str) -> bool:
    """Whether a value under this key should be masked, e.g. `DB_PASSWORD` or `api_key`."""
    return bool(_SECRET_NAME.search(name))


def mask_secrets(value: Json, *names: str) -> Json:
    """Returns a copy of `value` with registered secrets and values below secret names masked.

    `names` are the keys that lead to the value. Null, empty text, templates (`{{ … }}`) and values
    that are not JSON are left unchanged.
    """
    return _mask(value, any(map(is_secret_name, names)))


def find_secrets(value: Json) -> Iterator[str]:
    """Yields the strings and numbers below secret names in `value`, for `register_secrets`."""
    for path, leaf in leaves(value):
        if leaf is None or isinstance(leaf, bool) or (path and path[-1] in NON_SECRET_NAMES):
            continue
        text = str(leaf)
        if text and "{{" not in text and any(is_secret_name(str(part)) for part in path):
            yield text


def _mask(value: Json, below_secret: bool) -> Json:
    if isinstance(value, dict):
        return {
            key: _mask(item, below_secret or is_secret_name(str(key)))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_mask(item, below_secret) for item in value]
    if isinstance(value, str):
        return MASK if below_secret and value and "{{" not in value else redact(value)
    return MASK if below_secret and isinstance(value, int | float) else value
