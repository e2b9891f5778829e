"""Sources, precedence and validation of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployctl.api.setting_sources import read_env_file
from deployctl.api.settings import SETTING_FIELDS, Settings, load_settings
from deployctl.core.errors import SettingsError
from deployctl.core.redact import MASK, redact


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def load(folder: Path, environ: dict[str, str] | None = None, **rest: Any) -> Settings:
    home = {"PREFECT_HOME": str(folder.parent / "home")}
    return load_settings({**home, **(environ or {})}, folder, **rest)


def profiles(folder: Path, text: str) -> Path:
    path = folder.parent / "home" / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_server_by_default(folder: Path) -> None:
    settings = load(folder)
    assert settings == Settings()
    with pytest.raises(SettingsError, match="no Prefect server is set"):
        settings.server_url()


def test_user_without_home_folder_has_no_profiles(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    assert load_settings({}, folder) == Settings()


def test_precedence_of_sources(folder: Path) -> None:
    sources = {
        "profile": (
            folder.parent / "home" / "profiles.toml",
            'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://profile/api"\n',
        ),
        "pyproject": (
            folder / "pyproject.toml",
            '[tool.prefect]\napi.url = "http://pyproject/api"\n',
        ),
        "toml": (folder / "prefect.toml", '[api]\nurl = "http://toml/api"\n'),
        "dotenv": (folder / ".env", "PREFECT_API_URL=http://dotenv/api\n"),
    }
    for name, (path, text) in sources.items():
        path.write_text(text)
        assert load(folder).api_url == f"http://{name}/api"
    environ = {"PREFECT_API_URL": "http://environ/api"}
    assert load(folder, environ).api_url == "http://environ/api"
    flags = {"api_url": "http://flag/api"}
    assert load(folder, environ, flags=flags).api_url == "http://flag/api"
    assert load(folder, environ, flags={"api_url": None}).api_url == "http://environ/api"


def test_records_source_of_each_value(folder: Path) -> None:
    path = profiles(folder, 'active = "a"\n[profiles.a]\nPREFECT_CLIENT_MAX_RETRIES = "2"\n')
    settings = load(
        folder,
        {"PREFECT_DEFAULT_WORK_POOL_NAME": "pool"},
        flags={"api_url": "http://a/api"},
    )
    assert settings.sources == {
        "api_url": "--api-url",
        "default_work_pool_name": "'PREFECT_DEFAULT_WORK_POOL_NAME' in the environment",
        "max_retries": f"'PREFECT_CLIENT_MAX_RETRIES' in the profile 'a' of '{path}'",
    }


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PREFECT_API_URL", "http://a:4200/api/", "api_url", "http://a:4200/api"),
        ("prefect_api_url", "http://a/api", "api_url", "http://a/api"),
        ("PREFECT_API_KEY", "pnu_abcd\n", "api_key", "pnu_abcd"),
        ("PREFECT_API_AUTH_STRING", "user:pass", "auth_string", "user:pass"),
        ("PREFECT_API_SSL_CERT_FILE", "/ca.pem", "ssl_cert_file", "/ca.pem"),
        ("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "True", "tls_insecure_skip_verify", True),
        ("PREFECT_API_ENABLE_HTTP2", "1", "enable_http2", True),
        ("PREFECT_API_REQUEST_TIMEOUT", "2.5", "request_timeout", 2.5),
        ("PREFECT_CLIENT_MAX_RETRIES", "0", "max_retries", 0),
        ("PREFECT_CLIENT_RETRY_EXTRA_CODES", "404, 423", "retry_extra_codes", {404, 423}),
        ("PREFECT_CLIENT_RETRY_JITTER_FACTOR", "0.5", "retry_jitter_factor", 0.5),
        ("PREFECT_CLIENT_CSRF_SUPPORT_ENABLED", "false", "csrf_support", False),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"X-A": "b"}', "custom_headers", {"X-A": "b"}),
        ("PREFECT_CLOUD_API_URL", "https://cloud/api/", "cloud_api_url", "https://cloud/api"),
        ("PREFECT_DEPLOYMENTS_DEFAULT_WORK_POOL_NAME", "p", "default_work_pool_name", "p"),
        ("PREFECT_DEFAULT_WORK_POOL_NAME", "p", "default_work_pool_name", "p"),
        ("PREFECT_DEFAULT_DOCKER_BUILD_NAMESPACE", "r/o", "docker_build_namespace", "r/o"),
        (
            "PREFECT_DEPLOYMENTS_DEFAULT_DOCKER_BUILD_NAMESPACE",
            "r/o",
            "docker_build_namespace",
            "r/o",
        ),
    ],
)
def test_environment_variables(
    folder: Path, variable: str, text: str, field: str, value: Any
) -> None:
    assert getattr(load(folder, {variable: text}), field) == value


def test_prefect_toml(folder: Path) -> None:
    (folder / "prefect.toml").write_text(
        """
        [api]
        request_timeout = 5
        enable_http2 = true
        [client]
        max_retries = 1
        retry_extra_codes = [404, 423]
        csrf_support_enabled = false
        custom_headers = { X-A = "b" }
        [client.metrics]
        enabled = true
        [deployments]
        default_work_pool_name = "pool"
        """
    )
    settings = load(folder)
    assert (settings.request_timeout, settings.enable_http2) == (5.0, True)
    assert (settings.max_retries, settings.retry_extra_codes) == (1, frozenset({404, 423}))
    assert (settings.csrf_support, settings.custom_headers) == (False, {"X-A": "b"})
    assert settings.default_work_pool_name == "pool"


def test_empty_variable_overrides_lower_sources(folder: Path) -> None:
    (folder / "prefect.toml").write_text('[api]\nkey = "pnu_below"\n')
    assert load(folder, {"PREFECT_API_KEY": ""}).api_key is None


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("PREFECT_API_URL", "localhost:4200/api", "a URL that starts with http://"),
        ("PREFECT_API_URL", "http://", "a URL"),
        ("PREFECT_API_URL", "http:///api", "a URL"),
        ("PREFECT_API_URL", "http://a:b/api", "a URL"),
        ("PREFECT_API_URL", "http://[::1/api", "a URL"),
        ("PREFECT_CLIENT_MAX_RETRIES", "many", "a whole number"),
        ("PREFECT_CLIENT_MAX_RETRIES", "1.5", "a whole number"),
        ("PREFECT_CLIENT_MAX_RETRIES", "-1", "a whole number"),
        ("PREFECT_API_REQUEST_TIMEOUT", "0", "a number of seconds above 0"),
        ("PREFECT_API_REQUEST_TIMEOUT", "nan", "a number of seconds above 0"),
        ("PREFECT_API_ENABLE_HTTP2", "maybe", "true or false"),
        ("PREFECT_CLIENT_RETRY_EXTRA_CODES", "99", "comma-separated status codes"),
    ],
)
def test_invalid_value_is_reported_with_its_source(
    folder: Path, variable: str, text: str, expected: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load(folder, {variable: text})
    assert raised.value.message.startswith(f"the setting '{variable}' must be {expected}")
    assert f"not '{text}' (from '{variable}' in the environment)" in raised.value.message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:4200", "http://localhost:4200/api"),
        ("10.0.0.1/prefect/api/", "http://10.0.0.1/prefect/api"),
        ("api/api", "http://api/api"),
        ("not a url", "http://127.0.0.1:4200/api"),
        ("ftp://host/api", "http://127.0.0.1:4200/api"),
        ("me:word@host/api", "http://127.0.0.1:4200/api"),
    ],
)
def test_address_without_scheme_is_suggested_with_one(
    folder: Path, text: str, address: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        load(folder, {"PREFECT_API_URL": text})
    assert f"'{address}'" in str(raised.value.help)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PREFECT_API_KEY", "geheim\x07"),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"Authorization": "geheim"'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '["geheim"]'),
        ("PREFECT_CLIENT_CUSTOM_HEADERS", '{"A": "geheim\\nB: c"}'),
    ],
)
def test_invalid_secret_is_not_shown(folder: Path, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(folder, {variable: text})
    assert "geheim" not in raised.value.message
    assert variable in raised.value.message


def test_registers_secrets(folder: Path) -> None:
    settings = load(
        folder,
        {
            "PREFECT_API_KEY": "pnu_wxyz",
            "PREFECT_API_AUTH_STRING": "admin:open-sesame",
            "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Api-Key": "abracadabra", "X-Team": "blue"}',
        },
    )
    assert redact("pnu_wxyz open-sesame abracadabra") == f"{MASK} {MASK} {MASK}"
    assert redact("YWRtaW46b3Blbi1zZXNhbWU=") == MASK
    assert redact("blue") == "blue"
    assert "pnu_wxyz" not in repr(settings)
    assert "open-sesame" not in repr(settings)


def test_selects_profile(folder: Path) -> None:
    profiles(
        folder,
        """
        active = "dev"
        [profiles.dev]
        PREFECT_API_URL = "http://dev/api"
        [profiles.prod]
        PREFECT_API_URL = "http://prod/api"
        """,
    )
    assert load(folder).api_url == "http://dev/api"
    assert load(folder, {"PREFECT_PROFILE": "prod"}).api_url == "http://prod/api"
    assert load(folder, {"PREFECT_PROFILE": "dev"}, profile="prod").api_url == "http://prod/api"
    with pytest.raises(SettingsError, match="there is no profile 'test2'") as raised:
        load(folder, profile="test2")
    assert raised.value.help is not None
    assert "'dev', 'prod'" in raised.value.help


def test_built_in_profiles(folder: Path) -> None:
    assert load(folder, {"PREFECT_PROFILE": "local"}).api_url == "http://127.0.0.1:4200/api"
    assert load(folder, {"PREFECT_PROFILE": "ephemeral"}).api_url == ""


@pytest.mark.parametrize("where", ["environ", "dotenv", "toml", "pyproject"])
def test_path_of_profiles_file(folder: Path, where: str) -> None:
    text = 'active = "a"\n[profiles.a]\nPREFECT_API_URL = "http://elsewhere/api"\n'
    (folder.parent / "home" / "other.toml").write_text(text)
    environ = {}
    if where == "environ":
        environ["PREFECT_PROFILES_PATH"] = "$PREFECT_HOME/other.toml"
    elif where == "dotenv":
        (folder / ".env").write_text("PREFECT_PROFILES_PATH='$PREFECT_HOME/other.toml'")
    elif where == "toml":
        (folder / "prefect.toml").write_text('profiles_path = "$PREFECT_HOME/other.toml"')
    else:
        (folder / "pyproject.toml").write_text(
            '[tool.prefect]\nprofiles_path = "../home/other.toml"'
        )
    assert load(folder, environ).api_url == "http://elsewhere/api"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("PREFECT_API_KEY=abcd", "abcd"),
        ("export PREFECT_API_KEY = abcd", "abcd"),
        ('PREFECT_API_KEY="ab cd"  # why', "ab cd"),
        ("PREFECT_API_KEY='ab#$cd'", "ab#$cd"),
        ("PREFECT_API_KEY=ab#cd # why", "ab#cd"),
        (r'PREFECT_API_KEY="ab\"cd"', 'ab"cd'),
        ("PREFECT_API_KEY=${MINE}", "from-environment"),
        ("PREFECT_API_KEY='${MINE}'", "from-environment"),
        ('PREFECT_API_KEY="${MINE}"', "from-environment"),
        (r'PREFECT_API_KEY="a\\b"', "a\\b"),
        ("PREFECT_API_KEY=$MINE", "$MINE"),
        ("A='two\nlines'\nPREFECT_API_KEY=abcd", "abcd"),
        ("PREFECT_API_KEY=${NONE:-else}", "else"),
        ("A=above\nPREFECT_API_KEY=${A}", "above"),
        ("\ufeffPREFECT_API_KEY=abcd\r\n", "abcd"),
        ("some nonsense\nPREFECT_API_KEY=abcd", "abcd"),
        ("OTHER='open\nPREFECT_API_KEY=abcd", "abcd"),
        ("# PREFECT_API_KEY=abcd", None),
    ],
)
def test_dotenv_syntax(folder: Path, line: str, value: str | None) -> None:
    (folder / ".env").write_text(line, encoding="utf-8", newline="")
    assert load(folder, {"MINE": "from-environment"}).api_key == value


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        (".env", "A=1\nPREFECT_API_KEY geheim", ".env:2: "),
        (".env", "A=1\nPREFECT_API_KEY='geheim", ".env:2: "),
        (".env", "A=1\n\n  export PREFECT_API_KEY", ".env:3: "),
        ("prefect.toml", "[api]\nurl = geheim", "prefect.toml:2: not valid TOML"),
        ("pyproject.toml", "[api\n", "pyproject.toml:1: not valid TOML"),
    ],
)
def test_syntax_error_names_file_and_line(folder: Path, name: str, text: str, place: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(folder)
    assert raised.value.message.startswith(str(folder / place.partition(":")[0]))
    assert place in raised.value.message
    assert "geheim" not in raised.value.message


def test_file_that_is_not_utf8(folder: Path) -> None:
    (folder / "prefect.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"cannot read '.*prefect\.toml': not UTF-8"):
        load(folder)


def test_profiles_that_are_not_tables(folder: Path) -> None:
    profiles(folder, 'active = "a"\n[profiles]\na = 1\n')
    with pytest.raises(SettingsError, match="profiles must be tables"):
        load(folder)


def test_recognises_cloud_by_its_url(folder: Path) -> None:
    url = "https://api.prefect.cloud/api/accounts/a/workspaces/w"
    assert load(folder, {"PREFECT_API_URL": url}).is_cloud
    assert not load(folder, {"PREFECT_API_URL": "http://a/api"}).is_cloud


def test_every_field_is_a_setting() -> None:
    assert {name.field for name in SETTING_FIELDS} | {"sources"} == set(
        Settings.__dataclass_fields__
    )


def test_env_file_gives_the_assignments_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prod.env"
    file.write_text("# prod\nexport A=1\nb='two words'\n\nC=${A}-${HOST}\n")
    assert read_env_file(file, {"HOST": "h"}) == {"A": "1", "b": "two words", "C": "1-h"}


@pytest.mark.parametrize(("text", "message"), [(None, "there is no file"), ("A=1\n???", ":2: not")])
def test_env_file_that_cannot_be_used_is_an_error(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "a.env").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_env_file(tmp_path / "a.env", {})
