"""Redaction of secrets in everything that deployctl prints or logs.

Two mechanisms complement each other: registered values (credentials, values of blocks) are replaced
wherever they occur in a text, and values below a key such as `password` are masked when structured
data is shown.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from urllib.parse import quote

from deployctl.core.json_values import Json, leaves

MASK = "********"
"""Eight asterisks, which the Prefect server itself shows in place of a secret."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|auth(_?string|orization)?$|credential|private_?key|"
    r"connection_?(string|url)$|(database|db|redis|broker)_?(url|uri|dsn)$|\bdsn$",
    re.IGNORECASE,
)
NON_SECRET_NAMES = frozenset({"username", "registry_url", "type"})
"""Keys below a secret name whose values are not secret: image names often contain the first two."""
_URL_USERINFO = re.compile(
    r"(?<=://)[^/?#\s:'\"]*:[^/?#\s'\"]+(?=@)"
    r"|(?:(?<=http://)|(?<=https://))[^/?#\s'\"]+(?=@)"  # a user alone is no secret in ssh://git@…
)
_CREDENTIAL = re.compile(
    r"(?:gh[opusr]_|github_pat_|glpat-|gldt-|xox[abprs]-|sk-|pk_|pnu_|pnb_|npm_|pypi-|dop_v1_)\w{8}"
    r"|AKIA[0-9A-Z]{16}|eyJ[\w-]{8,}\.|-----BEGIN [A-Z ]*PRIVATE KEY"
)
"""Tokens of GitHub, GitLab, Slack, Prefect, package indexes, AWS; JSON web tokens; private keys."""
_EMBEDDED_CREDENTIAL = re.compile(rf"(?<![\w-])(?:{_CREDENTIAL.pattern})")
_USERINFO = re.compile(r"(?<=://)[^/@]*@")

_COMMON_WORDS = frozenset({"true", "false", "none", "null"})
"""Values that are never registered: a variable like TOKENIZERS_PARALLELISM is secret by its name
only."""

_MIN_EMBEDDED = 8
"""Characters of a stored secret that is found within a longer text."""

_registered: set[str] = set()
_stored: set[str] = set()
_lock = threading.Lock()


def register_secrets(secrets: Iterable[str | None], *, stored: bool = False) -> None:
    """Registers values that this process must never show; values under 4 characters are ignored.

    The lines of a multi-line value are registered too, because programs print them one by one, and
    so are the forms in which programs quote a value. `stored` marks secrets that the server stores
    as such: they must not be sent to it in plain text either (see `contains_stored_secret`).
    """
    with _lock:
        for secret in secrets:
            if secret and len(secret) >= 4 and secret.lower() not in _COMMON_WORDS:
                lines = {text for line in secret.splitlines() if len(text := line.strip()) >= 8}
                encoded = base64.b64encode(secret.encode("utf-8", "replace")).decode()
                forms = {secret, encoded, *lines}
                _registered.update(forms, *map(_quoted_forms, (secret, *lines)))
                if stored:
                    _stored.update(forms if len(secret) >= _MIN_EMBEDDED else {secret})


def redact(text: str) -> str:
    """Masks registered secrets, and passwords and tokens in URLs."""
    for secret in sorted(_registered, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return _URL_USERINFO.sub(MASK, text)


def contains_stored_secret(value: Json) -> bool:
    """Whether `value` contains a secret that the server stores as such.

    A secret of fewer than 8 characters may occur in an unrelated text by chance, so it must be the
    whole text.
    """
    texts = [str(leaf) for _, leaf in leaves(value) if leaf is not None]
    return any(
        secret in text if len(secret) >= _MIN_EMBEDDED else secret == text
        for text in texts
        for secret in _stored
    )


def strip_userinfo(url: str) -> str:
    """Removes user and password from a URL that is going to be stored."""
    return _USERINFO.sub("", url)


@cache
def is_secret_name(name: str) -> bool:
    """Whether a value under this key should be masked, e.g. `DB_PASSWORD` or `api_key`."""
    return bool(_SECRET_NAME.search(name))


def looks_like_credential(text: str) -> bool:
    """Whether a text has the form of a token or a key, or is a URL with a password."""
    return bool(_CREDENTIAL.match(text) or _URL_USERINFO.search(text))


def contains_credential(text: str) -> bool:
    """Whether a token, a key or a URL with a password occurs anywhere in a text."""
    return bool(_EMBEDDED_CREDENTIAL.search(text) or _URL_USERINFO.search(text))


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


def _quoted_forms(secret: str) -> set[str]:
    """The forms in which JSON, a URL, Python, and a shell before and after it show a secret."""
    forms = {
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        quote(secret, safe="", errors="replace"),
        secret.replace("'", "'\"'\"'"),
        re.sub(r"[\"'\\]", "", secret),
    }
    return {form for form in forms if len(form) >= 4}


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
