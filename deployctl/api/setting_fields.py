"""Tables of settings: how each setting is named in environments and files, and how it is parsed.

A tuple of `SettingField`s describes a group of settings; `read_settings` looks up their values.
Prefect derives the names of a setting from its path of tables, and so does this module:
`worker.query_seconds` is PREFECT_WORKER_QUERY_SECONDS.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployctl.api.setting_sources import Source
from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact

_HOST_AND_PATH = re.compile(r"[\w.-]+(:\d+)?(/[^\s@]*)?")
_API_PATH = re.compile(r"(?<!/)/api(?=/|$)", re.IGNORECASE)
_BOOLEANS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("false", "0", "no", "off", "f", "n"), False),
}
"""The words that Prefect (pydantic) accepts for a boolean."""


@dataclass(frozen=True, slots=True)
class SettingField:
    """One setting."""

    field: str
    """The attribute of the settings object."""
    toml: tuple[str, ...]
    """The path of tables in TOML files."""
    parse: Callable[[Json], Any]
    """Converts the value; raises ValueError or TypeError. None means that the value is empty."""
    expects: str = "text"
    """What a value must be, for the message about an invalid one."""
    help: Callable[[str], str | None] = lambda _: None
    """What to do about an invalid value."""
    secret: bool = False
    aliases: tuple[str, ...] = ()
    """Further environment variables."""

    @property
    def env(self) -> tuple[str, ...]:
        """The environment variables, in order of precedence."""
        return ("_".join(("PREFECT", *self.toml)).upper(), *self.aliases)


@dataclass(frozen=True, slots=True)
class SettingValues:
    """The settings that have a value in some source."""

    values: Mapping[str, Any]
    """Field → value; a field with its default value is absent."""
    sources: Mapping[str, str]
    """Field → where its value came from, for messages."""


def read_settings(
    fields: Iterable[SettingField],
    sources: Sequence[Source],
    flags: Mapping[str, Json] | None = None,
) -> SettingValues:
    """Looks up every setting in `flags` (field → value, None: not given), then in `sources`.

    Raises SettingsError, which names the source of an invalid value.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for field in fields:
        found = _look_up(field, sources, flags or {})
        if found is None:
            continue
        raw, source, origin = found
        value = _parse(field, raw, source)
        if value is not None:
            values[field.field], origins[field.field] = value, origin
    return SettingValues(values, origins)


def _look_up(
    field: SettingField, sources: Sequence[Source], flags: Mapping[str, Json]
) -> tuple[Json, str, str] | None:
    """The value, its source for the message about an invalid value, and its entry in `sources`."""
    if (value := flags.get(field.field)) is not None:
        return value, "the command line", f"--{field.field.replace('_', '-')}"
    for source in sources:
        if (found := source.get(field.toml, field.env)) is not None:
            key, value = found
            return value, source.describe(key), source.describe(key)
    return None


def _parse(field: SettingField, value: Json, source: str) -> Any:
    """The parsed value, or None if it is empty: an empty variable means the default."""
    if value is None or value == "":
        return None
    try:
        return field.parse(value)
    except (ValueError, TypeError):
        actual = "" if field.secret else f", not '{redact(str(value))}'"
        raise SettingsError(
            f"the setting '{field.env[0]}' must be {field.expects}{actual} (from {source})",
            help=field.help(str(value)),
        ) from None


def parse_text(value: Json) -> str | None:
    """A string without surrounding white space, which files and mounted secrets end with."""
    if not isinstance(value, str):
        raise ValueError
    return value.strip() or None


def parse_header_text(value: Json) -> str | None:
    """A string that is valid in an HTTP header."""
    text = parse_text(value)
    if text is not None and not (text.isascii() and text.isprintable()):
        raise ValueError
    return text


def parse_url(value: Json) -> str | None:
    """An HTTP or HTTPS URL without a trailing slash."""
    text = parse_text(value)
    if text is None:
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in text:
        raise ValueError
    _ = parts.port  # raises ValueError for one that is no number
    return text.rstrip("/")


def api_url_help(value: str) -> str:
    """The way to write the address of an API: that of `value` if it lacks only the scheme."""
    text = value.strip().rstrip("/")
    if not _HOST_AND_PATH.fullmatch(text):
        return "Write an address such as 'http://127.0.0.1:4200/api'."
    return f"Did you mean 'http://{with_api_path(text)}'?"


def with_api_path(url: str) -> str:
    """The most likely address of the API at a URL: up to its `/api`, which is added if missing."""
    found = _API_PATH.search(url)
    return url[: found.start()] + "/api" if found else f"{url}/api"


def parse_flag(value: Json) -> bool:
    """A boolean, or one of the words that Prefect accepts for true and false."""
    if isinstance(value, bool):
        return value
    try:
        return _BOOLEANS[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def parse_number(value: Json) -> float:
    """A finite number of at least 0."""
    number = float(value)
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise ValueError
    return number


def parse_seconds(value: Json) -> float:
    """A finite number above 0."""
    if (number := parse_number(value)) == 0:
        raise ValueError
    return number


def parse_count(value: Json) -> int:
    """A whole number of at least 0."""
    if (number := parse_number(value)) != int(number):
        raise ValueError
    return int(number)


def parse_list(value: Json) -> tuple[str, ...]:
    """A list of strings or a comma-separated string; duplicates are dropped."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def parse_status_codes(value: Json) -> frozenset[int]:
    """HTTP statuses as `"404,429"`, as one number or as a list."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, int) else parts
    codes = frozenset(int(part) for part in parts if str(part).strip())
    if any(not 100 <= code <= 599 for code in codes):
        raise ValueError
    return codes


def parse_headers(value: Json) -> dict[str, str]:
    """HTTP headers as a mapping, or as the JSON text of one."""
    import json

    headers = json.loads(value) if isinstance(value, str) else value
    if not isinstance(headers, dict):
        raise ValueError
    return {
        parse_header_text(name) or "": parse_header_text(item) or ""
        for name, item in headers.items()
    }
