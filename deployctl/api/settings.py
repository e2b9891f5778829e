"""Where the server is and how to talk to it, found where Prefect finds it.

In this order, first wins: flags, environment, `.env`, `prefect.toml`, `[tool.prefect]` of
`pyproject.toml`, and the active profile of `profiles.toml`. Names and aliases are Prefect's. Unlike
Prefect, no server is ever started because none is set, a profile that was asked for must exist, and
a file that cannot be read is an error. Each value remembers where it came from, for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.api.setting_fields import (
    SettingField,
    codes,
    count,
    flag,
    header_text,
    headers,
    number,
    read_settings,
    seconds,
    text,
    url,
)
from deployctl.api.setting_sources import find_sources
from deployctl.core import redact
from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json

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
    docker_build_namespace: str = ""
    """Before the names of images that name no registry and no owner."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field → where its value came from; fields that have their default are not in it."""

    @property
    def is_cloud(self) -> bool:
        """Whether the server is Prefect Cloud."""
        return self.api_url.startswith(self.cloud_api_url)

    @property
    def display_url(self) -> str:
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
    found = read_settings(SETTING_FIELDS, find_sources(environ, folder, profile), flags)
    settings = Settings(**found.values, sources=found.sources)
    _remember(settings)
    return settings


def _remember(settings: Settings) -> None:
    redact.register_secrets([settings.api_key, settings.auth_string])
    if settings.auth_string:
        redact.register_secrets([settings.auth_string.partition(":")[2]])
    for name, value in settings.custom_headers.items():
        if redact.is_secret_name(name.replace("-", "_")) or name.lower() == "cookie":
            redact.register_secrets([value, value.rpartition(" ")[2]])


SETTING_FIELDS: tuple[SettingField, ...] = (
    SettingField(
        "api_url",
        ("api", "url"),
        url,
        "an address that begins with http:// or https://",
    ),
    SettingField("api_key", ("api", "key"), header_text, "printable ASCII", secret=True),
    SettingField("auth_string", ("api", "auth_string"), text, secret=True),
    SettingField("ssl_cert_file", ("api", "ssl_cert_file"), text),
    SettingField(
        "tls_insecure_skip_verify",
        ("api", "tls_insecure_skip_verify"),
        flag,
        "true or false",
    ),
    SettingField("enable_http2", ("api", "enable_http2"), flag, "true or false"),
    SettingField(
        "request_timeout", ("api", "request_timeout"), seconds, "a number of seconds above 0"
    ),
    SettingField("max_retries", ("client", "max_retries"), count, "a whole number from 0 on"),
    SettingField(
        "retry_extra_codes",
        ("client", "retry_extra_codes"),
        codes,
        "status codes with commas between them",
    ),
    SettingField(
        "retry_jitter_factor",
        ("client", "retry_jitter_factor"),
        number,
        "a number from 0 on",
    ),
    SettingField("csrf_support", ("client", "csrf_support_enabled"), flag, "true or false"),
    SettingField(
        "custom_headers",
        ("client", "custom_headers"),
        headers,
        "a JSON object of header names and ASCII texts",
        secret=True,
    ),
    SettingField(
        "cloud_api_url",
        ("cloud", "api_url"),
        url,
        "an address that begins with http:// or https://",
    ),
    SettingField(
        "default_work_pool_name",
        ("deployments", "default_work_pool_name"),
        text,
        aliases=("PREFECT_DEFAULT_WORK_POOL_NAME",),
    ),
    SettingField(
        "docker_build_namespace",
        ("deployments", "default_docker_build_namespace"),
        text,
        aliases=("PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE",),
    ),
)
"""Every setting that is read."""
