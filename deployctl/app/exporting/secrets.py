"""Keeps secrets out of exported files: an environment variable stands in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployctl.core.json_values import Json, JsonPath
from deployctl.core.redact import NON_SECRET_NAMES, is_secret_name, looks_like_credential

_REFERENCES = frozenset(
    {"secretKeyRef", "secretRef", "secretName", "secret_name", "imagePullSecrets"}
    | {"image_pull_secrets"}
)
"""Keys that name a Secret of Kubernetes, whose values are not secret."""
_PASSWORD = re.compile(r"pass(word|wd|phrase)?$|secret|api_?key", re.IGNORECASE)
_HARMLESS = frozenset({"", "true", "false", "none", "null", "0", "1"})
"""Texts that are no secrets, whatever their key is called: `TOKENIZERS_PARALLELISM: "true"`."""


@dataclass(slots=True)
class Secrets:
    """The secrets of a file, by the variables that stand for them."""

    values: dict[str, str] = field(default_factory=dict)
    """Name of the variable → secret."""

    def replace(self, value: Json, path: JsonPath = ()) -> Json:
        """The value with a placeholder in place of each secret text in it.

        Text is secret below a secret name (`DB_PASSWORD`), or if it has the form of a token, or of
        a URL with a password. A number is secret as a password only: `max_tokens` is none. Equal
        secrets below equal names get one variable.
        """
        if isinstance(value, Mapping):
            return {name: self.replace(item, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.replace(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and _is_secret(value, path):
            return f"{{{{ ${self._variable(value, path)} }}}}"
        if isinstance(value, int | float) and _is_secret_number(value, path):
            return f"{{{{ ${self._variable(str(value), path)} }}}}"
        return value

    def _variable(self, secret: str, path: JsonPath) -> str:
        key = _variable_name(path)
        base = re.sub(r"[^A-Z0-9]+", "_", key.upper()).strip("_") or "SECRET"
        base = f"_{base}" if base[0].isdigit() else base
        name, number = base, 1
        while self.values.setdefault(name, secret) != secret:
            number += 1
            name = f"{base}_{number}"
        return name


def _variable_name(path: JsonPath) -> str:
    """The keys from the last secret name on, so that no `USER` or `HOME` of a shell is meant."""
    names = [part for part in path if isinstance(part, str)]
    last = max((at for at, name in enumerate(names) if is_secret_name(name)), default=-1)
    return "_".join(names[last:])


def _is_secret_number(value: float, path: JsonPath) -> bool:
    name = str(path[-1]) if path else ""
    return not isinstance(value, bool) and bool(_PASSWORD.search(name))


def _is_secret(text: str, path: JsonPath) -> bool:
    if "{{" in text or text.casefold() in _HARMLESS:
        return False
    names = [part for part in path if isinstance(part, str)]
    if _REFERENCES.intersection(names) or (names and names[-1] in NON_SECRET_NAMES):
        return looks_like_credential(text)
    return looks_like_credential(text) or any(map(is_secret_name, names))
