"""Where the server is and how to talk to it, found where Prefect finds it.

In this order, first wins: flags, environment, `.env`, `prefect.toml`, `[tool.prefect]` of
`pyproject.toml`, and the active profile of `profiles.toml`. Names and aliases are Prefect's. Unlike
Prefect, no server is ever started because none is set, a profile that was asked for must exist, and
a file that cannot be read is an error. Each value remembers where it came from, for messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployctl.api.sources import Source, sources
from deployctl.core import redact
from deployctl.core.errors import SettingsError
from deployctl.core.values import Json

CLOUD_API_URL = "https://api.prefect.cloud/api"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings that deployctl uses."""

    api_url: str = ""
    """Without a slash at the end; empty where none is set."""
    api_key: str | None = field(default=None, repr=False)
    auth_string: str | None = field(default=None, repr=False)
    custom_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssl_cert_file: str | None = None
    tls_insecure_skip_verify: bool = False
    enable_http2: bool = False
    request_timeout: float = 60.0
    max_retries: int = 5
    retry_extra_codes: frozenset[int] = frozenset()
    retry_jitter_factor: float = 0.2
    csrf_support: bool = True
    cloud_api_url: str = CLOUD_API_URL
    default_work_pool_name: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field → where its value came from; fields that have their default are not in it."""

    @property
    def is_cloud(self) -> bool:
        """Whether the server is Prefect Cloud."""
        return self.api_url.startswith(self.cloud_api_url)

    @property
    def shown_url(self) -> str:
        """The API URL without credentials."""
        return redact.redact(self.api_url)

    def origin(self, name: str) -> str:
        """Where the value of a field came from."""
        return self.sources.get(name, "the defaults")

    def server_url(self) -> str:
        """The API URL; raises SettingsError that says how to set one."""
        if not self.api_url:
            raise SettingsError(
                "no Prefect server is set",
                help="Give its address with --api-url, with the environment variable "
                "PREFECT_API_URL, or in a profile (prefect config set PREFECT_API_URL=…), "
                "for example http://127.0.0.1:4200/api.",
            )
        return self.api_url


@dataclass(frozen=True, slots=True)
class Name:
    """How one setting is called in environments and files, and how its text is understood."""

    field: str
    toml: tuple[str, ...]
    parse: Callable[[Json], Any]
    wants: str = "text"
    """What a value has to be, for the message about one that is not."""
    secret: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def env(self) -> tuple[str, ...]:
        """The environment variables, in the order in which they are looked up."""
        return ("_".join(("PREFECT", *self.toml)).upper(), *self.aliases)


def load_settings(
    environ: Mapping[str, str],
    folder: Path,
    *,
    flags: Mapping[str, Json] | None = None,
    profile: str | None = None,
) -> Settings:
    """Reads the settings that hold in `folder`.

    `flags`: fields of `Settings` given on the command line; None means not given. `profile`: the
    profile to use instead of the active one. Raises SettingsError that names the source of what is
    wrong. Secrets among the values are remembered, so that they are never shown.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name in NAMES:
        if name.field in given:
            found[name.field] = _parse(name, given[name.field], "the command line")
            origin[name.field] = f"--{name.field.replace('_', '-')}"
    places = sources(environ, folder, profile)
    for name in NAMES:
        if name.field not in found and (hit := _look_up(name, places)) is not None:
            value, where = hit
            origin[name.field] = where
            found[name.field] = _parse(name, value, where)
    defaults = {name: value for name, value in found.items() if value is not None}
    settings = Settings(
        **defaults, sources={name: where for name, where in origin.items() if name in defaults}
    )
    _remember(settings)
    return settings


def _look_up(name: Name, places: Iterable[Source]) -> tuple[Json, str] | None:
    for place in places:
        if (hit := place.get(name.toml, name.env)) is not None:
            key, value = hit
            return value, place.show(key)
    return None


def _parse(name: Name, value: Json, where: str) -> Any:
    """The value, or None where it is empty: an empty variable means the default."""
    if value is None or value == "":
        return None
    try:
        return name.parse(value)
    except (ValueError, TypeError):
        shown = "" if name.secret else f", not '{redact.redact(str(value))}'"
        raise SettingsError(
            f"the setting '{name.env[0]}' has to be {name.wants}{shown} (from {where})"
        ) from None


def _remember(settings: Settings) -> None:
    redact.remember([settings.api_key, settings.auth_string])
    if settings.auth_string:
        redact.remember([settings.auth_string.partition(":")[2]])
    for name, value in settings.custom_headers.items():
        if redact.is_secret_name(name.replace("-", "_")) or name.lower() == "cookie":
            redact.remember([value, value.rpartition(" ")[2]])


def _text(value: Json) -> str | None:
    """Text without the white space that files and mounted secrets put at its end."""
    if not isinstance(value, str):
        raise ValueError
    return value.strip() or None


def _header_text(value: Json) -> str | None:
    text = _text(value)
    if text is not None and not (text.isascii() and text.isprintable()):
        raise ValueError
    return text


def _url(value: Json) -> str | None:
    url = _text(value)
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/") or " " in url:
        raise ValueError
    return url.rstrip("/")


def _flag(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True, "t": True, "y": True}
    words |= {"false": False, "0": False, "no": False, "off": False, "f": False, "n": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError from None


def _number(value: Json) -> float:
    number = float(value)
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise ValueError
    return number


def _seconds(value: Json) -> float:
    if (number := _number(value)) == 0:
        raise ValueError
    return number


def _count(value: Json) -> int:
    if (number := _number(value)) != int(number):
        raise ValueError
    return int(number)


def _codes(value: Json) -> frozenset[int]:
    """Statuses as `"404,429"`, as one number or as a list."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, int) else parts
    codes = frozenset(int(part) for part in parts if str(part).strip())
    if any(not 100 <= code <= 599 for code in codes):
        raise ValueError
    return codes


def _headers(value: Json) -> dict[str, str]:
    """A mapping, or JSON text of one."""
    import json

    loaded = json.loads(value) if isinstance(value, str) else value
    if not isinstance(loaded, dict):
        raise ValueError
    return {_header_text(name) or "": _header_text(text) or "" for name, text in loaded.items()}


NAMES: tuple[Name, ...] = (
    Name(
        "api_url",
        ("api", "url"),
        _url,
        "an address that begins with http:// or https://",
    ),
    Name("api_key", ("api", "key"), _header_text, "printable ASCII", secret=True),
    Name("auth_string", ("api", "auth_string"), _text, secret=True),
    Name("ssl_cert_file", ("api", "ssl_cert_file"), _text),
    Name(
        "tls_insecure_skip_verify",
        ("api", "tls_insecure_skip_verify"),
        _flag,
        "true or false",
    ),
    Name("enable_http2", ("api", "enable_http2"), _flag, "true or false"),
    Name("request_timeout", ("api", "request_timeout"), _seconds, "a number of seconds above 0"),
    Name("max_retries", ("client", "max_retries"), _count, "a whole number from 0 on"),
    Name(
        "retry_extra_codes",
        ("client", "retry_extra_codes"),
        _codes,
        "status codes with commas between them",
    ),
    Name(
        "retry_jitter_factor",
        ("client", "retry_jitter_factor"),
        _number,
        "a number from 0 on",
    ),
    Name("csrf_support", ("client", "csrf_support_enabled"), _flag, "true or false"),
    Name(
        "custom_headers",
        ("client", "custom_headers"),
        _headers,
        "a JSON object of header names and ASCII texts",
        secret=True,
    ),
    Name(
        "cloud_api_url",
        ("cloud", "api_url"),
        _url,
        "an address that begins with http:// or https://",
    ),
    Name(
        "default_work_pool_name",
        ("deployments", "default_work_pool_name"),
        _text,
        aliases=("PREFECT_DEFAULT_WORK_POOL_NAME",),
    ),
)
"""Every setting that is read."""
