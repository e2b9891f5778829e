"""Registry credentials from Docker's config.json and credential helpers.

`docker login` stores credentials in `config.json`, or in a credential helper that the file names
(`docker-credential-…`). Keys of that file have had several forms: a host, a URL, and for Docker Hub
the address of its version 1 API; all of them are supported. The `credentials` input of a push step
takes precedence for its registry. Files and helpers are read on first use.

docker-py's `docker.auth` is not used: it ignores an invalid file and entries with `username` and
`password`, rejects the whole file for one null entry, does not match `credHelpers` for `docker.io`,
looks for helpers in this process's PATH and runs them without a timeout, and puts the helper's
output into its errors. `test_credentials.py` covers each difference but the timeout.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from pathlib import Path

from deployctl.clients import process
from deployctl.clients.registry.auth import Credentials
from deployctl.core.errors import DeployctlError, ProgramError
from deployctl.core.json_values import Json
from deployctl.core.redact import redact
from deployctl.images.builder import StepCredentials
from deployctl.images.reference import DOCKER_HUB, ImageReference

_HUB_KEY = f"https://index.{DOCKER_HUB}/v1/"
"""Docker Hub's key in config.json, and its server URL for credential helpers."""
_HUB_HOSTS = frozenset({DOCKER_HUB, f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}"})
_TOKEN_USER = "<token>"
"""The username of identity tokens in credential helpers."""
_HELPER_TIMEOUT = 60.0
"""Seconds; a helper may ask the user to unlock the keychain."""


class CredentialsError(DeployctlError):
    """Docker's config.json or a credential helper is unusable."""

    code = "DC720"


def registry_host(key: str) -> str:
    """The registry of a URL or host, as it is written in image references."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0]
    return DOCKER_HUB if host in _HUB_HOSTS else host


class CredentialStore:
    """Looks up credentials by registry or repository. Thread-safe."""

    def __init__(
        self, env: Mapping[str, str], overrides: Mapping[str, Credentials] | None = None
    ) -> None:
        """`env`: DOCKER_CONFIG or HOME locates Docker's file. `overrides`: credentials by registry
        that take precedence over it."""
        directory = env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker"
        self._path = Path(directory) / "config.json"
        self._env = env
        self._by_registry: dict[str, Credentials | None] = dict(overrides or {})
        self._by_repository: dict[tuple[str, str], Credentials] = {}
        self._config: Json = None
        self._lock = threading.Lock()

    def set_for_repository(self, name: ImageReference, credentials: StepCredentials) -> None:
        """Uses these credentials for the repository of an image, if they are for its registry."""
        for found in matching_credentials(name, credentials).values():
            with self._lock:
                self._by_repository[name.registry, name.repository] = found

    def get(self, registry: str, repository: str = "") -> Credentials | None:
        """The credentials for a registry (`docker.io`, `registry.example.com:5000`), or for a
        repository that has its own; None for anonymous access.

        Raises CredentialsError.
        """
        with self._lock:
            if own := self._by_repository.get((registry, repository)):
                return own
            if registry not in self._by_registry:
                self._by_registry[registry] = self._find(registry)
            return self._by_registry[registry]

    def _find(self, registry: str) -> Credentials | None:
        config = self._read_config()
        helpers, auths = _mapping(config, "credHelpers"), _mapping(config, "auths")
        configured = [name for key, name in helpers.items() if registry_host(key) == registry]
        helper = configured[0] if configured else config.get("credsStore")
        found = self._from_helper(str(helper), registry) if helper else None
        return found or self._from_auths(auths, registry)

    def _read_config(self) -> Json:
        """The content of config.json; empty if there is no file."""
        if self._config is None:
            try:
                self._config = json.loads(self._path.read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                self._config = {}
            except OSError as error:
                raise CredentialsError(f"cannot read '{self._path}': {error.strerror}") from error
            except json.JSONDecodeError as error:
                raise CredentialsError(
                    f"invalid JSON in line {error.lineno} of '{self._path}': {error.msg}"
                ) from error
            except UnicodeDecodeError as error:
                raise CredentialsError(f"'{self._path}' is not valid UTF-8") from error
            if not isinstance(self._config, dict):
                raise CredentialsError(f"'{self._path}' is not a JSON object")
        return self._config

    def _from_auths(self, auths: Mapping[str, Json], registry: str) -> Credentials | None:
        exact = _HUB_KEY if registry == DOCKER_HUB else registry
        keys = sorted(auths, key=lambda key: key != exact)
        for key in (key for key in keys if registry_host(key) == registry):
            entry = auths[key] if isinstance(auths[key], dict) else {}
            username, password = entry.get("username") or "", entry.get("password") or ""
            if entry.get("auth"):
                username, password = self._decode_auth(str(entry["auth"]), key)
            token = entry.get("identitytoken") or None
            if username or token:
                return Credentials(str(username), str(password), token and str(token))
        return None

    def _decode_auth(self, auth: str, key: str) -> tuple[str, str]:
        try:
            text = base64.b64decode(auth, validate=True).decode()
            username, password = text.rstrip("\0").split(":", 1)
        except ValueError:  # not chained: its message may contain the decoded secret
            raise CredentialsError(
                f"the `auth` of '{key}' in '{self._path}' is not base64 of `name:password`",
                help=f"Run `docker login {registry_host(key)}` to write it again.",
            ) from None
        return username, password

    def _from_helper(self, name: str, registry: str) -> Credentials | None:
        """What the credential helper `docker-credential-NAME` has for a registry."""
        program = f"docker-credential-{name}"
        key = _HUB_KEY if registry == DOCKER_HUB else registry
        try:
            done = process.run(
                [program, "get"],
                cwd=Path.cwd(),
                env=self._env,
                timeout=_HELPER_TIMEOUT,
                input=key,
            )
        except ProgramError as error:
            raise CredentialsError(
                f"cannot run the credential helper that '{self._path}' names: {error.message}",
                help=f"Install `{program}`, or remove it from that file.",
            ) from error
        if done.returncode:
            output = (done.stdout or done.stderr).strip()
            if "not found" in output or "no credentials" in output:
                return None
            raise CredentialsError(
                f"`{program} get` failed for '{registry}': {redact(output)[:200]}"
            )
        try:
            found = json.loads(done.stdout)
            username, secret = str(found.get("Username") or ""), str(found.get("Secret") or "")
        except (ValueError, AttributeError):  # not chained: the output may contain the secret
            raise CredentialsError(f"the output of `{program} get` is not a JSON object") from None
        if username == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(username, secret) if secret else None


def _mapping(config: Json, key: str) -> Mapping[str, Json]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def matching_credentials(
    name: ImageReference, credentials: StepCredentials | None
) -> dict[str, Credentials]:
    """The credentials of a step by registry, if they are for the registry of this image."""
    if not credentials:
        return {}
    if credentials.registry and registry_host(credentials.registry) != name.registry:
        return {}
    return {name.registry: Credentials(credentials.username, credentials.password)}
