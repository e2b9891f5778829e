"""Settings of the Prefect API, read from where Prefect reads them.

In order of precedence: flags, environment, `.env`, `prefect.toml`, `[tool.prefect]` of
`pyproject.toml`, and the active profile of `profiles.toml`. Names and aliases are Prefect's. Unlike
in Prefect, no server is ever started when none is set, a requested profile must exist, and a file
that cannot be read is an error. The source of each value is kept for messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployctl.api.setting_fields import (
    SettingField,
    api_url_help,
    parse_count,
    parse_flag,
    parse_header_text,
    parse_headers,
    parse_number,
    parse_seconds,
    parse_status_codes,
    parse_text,
    parse_url,
    read_settings,
)
from deployctl.api.setting_sources import find_sources
from deployctl.core import redact
from deployctl.core.errors import SettingsError
from deployctl.core.json_values import Json

CLOUD_API_URL = "https://api.prefect.cloud/api"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the Prefect API that deployctl uses."""

    api_url: str = ""
    """Without a trailing slash; empty if none is set."""
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
    """Prefix of image names without a registry and an owner."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Field → where its value came from; fields with their default value are absent."""

    @property
    def is_cloud(self) -> bool:
        """Whether the server is Prefect Cloud."""
        return self.api_url.startswith(self.cloud_api_url)

    @property
    def display_url(self) -> str:
        """The API URL with credentials masked."""
        return redact.redact(self.api_url)

    def origin(self, name: str) -> str:
        """Where the value of a field came from, for messages."""
        return self.sources.get(name, "the defaults")

    def server_url(self) -> str:
        """The API URL. Raises SettingsError, which says how to set one."""
        if not self.api_url:
            raise SettingsError(
                "no Prefect server is set",
                help="Set its address with --api-url, with the environment variable "
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
    """Reads the settings that apply in `folder`, and registers the secrets among them.

    `flags`: fields of `Settings` from the command line; None means not given. `profile`: the
    profile to use instead of the active one. Raises SettingsError, which names the source of what
    is wrong.
    """
    found = read_settings(SETTING_FIELDS, find_sources(environ, folder, profile), flags)
    settings = Settings(**found.values, sources=found.sources)
    _register_secrets(settings)
    return settings


def _register_secrets(settings: Settings) -> None:
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
        parse_url,
        "a URL that starts with http:// or https://",
        api_url_help,
    ),
    SettingField("api_key", ("api", "key"), parse_header_text, "printable ASCII", secret=True),
    SettingField("auth_string", ("api", "auth_string"), parse_text, secret=True),
    SettingField("ssl_cert_file", ("api", "ssl_cert_file"), parse_text),
    SettingField(
        "tls_insecure_skip_verify",
        ("api", "tls_insecure_skip_verify"),
        parse_flag,
        "true or false",
    ),
    SettingField("enable_http2", ("api", "enable_http2"), parse_flag, "true or false"),
    SettingField(
        "request_timeout", ("api", "request_timeout"), parse_seconds, "a number of seconds above 0"
    ),
    SettingField(
        "max_retries", ("client", "max_retries"), parse_count, "a whole number of at least 0"
    ),
    SettingField(
        "retry_extra_codes",
        ("client", "retry_extra_codes"),
        parse_status_codes,
        "comma-separated status codes",
    ),
    SettingField(
        "retry_jitter_factor",
        ("client", "retry_jitter_factor"),
        parse_number,
        "a number of at least 0",
    ),
    SettingField("csrf_support", ("client", "csrf_support_enabled"), parse_flag, "true or false"),
    SettingField(
        "custom_headers",
        ("client", "custom_headers"),
        parse_headers,
        "a JSON object of header names and ASCII values",
        secret=True,
    ),
    SettingField(
        "cloud_api_url",
        ("cloud", "api_url"),
        parse_url,
        "a URL that starts with http:// or https://",
    ),
    SettingField(
        "default_work_pool_name",
        ("deployments", "default_work_pool_name"),
        parse_text,
        aliases=("PREFECT_DEFAULT_WORK_POOL_NAME",),
    ),
    SettingField(
        "docker_build_namespace",
        ("deployments", "default_docker_build_namespace"),
        parse_text,
        aliases=("PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE",),
    ),
)
"""All settings of `Settings`."""
