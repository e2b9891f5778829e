"""Who we are to a registry, as Docker knows it.

`docker login` leaves what it was told in `config.json`, or with a program of the system's keychain
that is named there (`docker-credential-…`). Keys of that file have had many forms: a host, a URL,
and for Docker Hub an address of its first version; all of them are understood. What a step gives as
`credentials` comes before all this, for its registry. Nothing is read before it is needed.
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
from deployctl.images import builder
from deployctl.images.reference import DOCKER_HUB, Reference

_HUB_KEY = f"https://index.{DOCKER_HUB}/v1/"
"""What Docker calls Docker Hub in its file, and to the programs that keep its logins."""
_HUB_HOSTS = frozenset({DOCKER_HUB, f"index.{DOCKER_HUB}", f"registry-1.{DOCKER_HUB}"})
_TOKEN_USER = "<token>"
"""The name under which programs keep identity tokens."""
_HELPER_SECONDS = 60.0


class CredentialsError(DeployctlError):
    """Docker's file of logins, or a program that keeps them, is of no use."""

    code = "DC720"


def registry_host(key: str) -> str:
    """The registry that a URL or host stands for, as names of images begin with it."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0]
    return DOCKER_HUB if host in _HUB_HOSTS else host


class CredentialStore:
    """Finds logins; for many threads."""

    def __init__(
        self, env: Mapping[str, str], given: Mapping[str, Credentials] | None = None
    ) -> None:
        """`env`: DOCKER_CONFIG or HOME says where Docker's file is; `given`: logins by registry
        that come before it."""
        folder = env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker"
        self._path = Path(folder) / "config.json"
        self._env = env
        self._known: dict[str, Credentials | None] = dict(given or {})
        self._of_images: dict[tuple[str, str], Credentials] = {}
        self._config: Json = None
        self._lock = threading.Lock()

    def give(self, name: Reference, login: builder.StepCredentials) -> None:
        """From now on this is the login for the repository of this image, if it is for its
        registry."""
        for found in matching_credentials(name, login).values():
            with self._lock:
                self._of_images[name.registry, name.repository] = found

    def of(self, registry: str, repository: str = "") -> Credentials | None:
        """The login for a registry (`docker.io`, `registry.example.com:5000`), or for a repository
        there that has one of its own; None: as anybody.

        Raises LoginUnusable.
        """
        with self._lock:
            if own := self._of_images.get((registry, repository)):
                return own
            if registry not in self._known:
                self._known[registry] = self._find(registry)
            return self._known[registry]

    def _find(self, registry: str) -> Credentials | None:
        config = self._read()
        helpers, auths = _mapping(config, "credHelpers"), _mapping(config, "auths")
        named = [name for key, name in helpers.items() if registry_host(key) == registry]
        program = named[0] if named else config.get("credsStore")
        kept = self._kept_by(str(program), registry) if program else None
        return kept or self._from_file(auths, registry)

    def _read(self) -> Json:
        """Docker's file; empty where there is none."""
        if self._config is None:
            try:
                self._config = json.loads(self._path.read_text(encoding="utf-8"))
            except (FileNotFoundError, NotADirectoryError):
                self._config = {}
            except OSError as error:
                raise CredentialsError(
                    f"'{self._path}' cannot be read: {error.strerror}"
                ) from error
            except json.JSONDecodeError as error:
                raise CredentialsError(
                    f"line {error.lineno} of '{self._path}' is not JSON: {error.msg}"
                ) from error
            except UnicodeDecodeError as error:
                raise CredentialsError(f"'{self._path}' is not a text in UTF-8") from error
            if not isinstance(self._config, dict):
                raise CredentialsError(f"'{self._path}' does not hold a JSON object")
        return self._config

    def _from_file(self, auths: Mapping[str, Json], registry: str) -> Credentials | None:
        exact = _HUB_KEY if registry == DOCKER_HUB else registry
        keys = sorted(auths, key=lambda key: key != exact)
        for key in (key for key in keys if registry_host(key) == registry):
            entry = auths[key] if isinstance(auths[key], dict) else {}
            username, password = entry.get("username") or "", entry.get("password") or ""
            if entry.get("auth"):
                username, password = self._decoded(str(entry["auth"]), key)
            token = entry.get("identitytoken") or None
            if username or token:
                return Credentials(str(username), str(password), token and str(token))
        return None

    def _decoded(self, auth: str, key: str) -> tuple[str, str]:
        try:
            text = base64.b64decode(auth, validate=True).decode()
            username, password = text.rstrip("\0").split(":", 1)
        except ValueError:  # its message may hold what was decoded
            raise CredentialsError(
                f"the login for '{key}' in '{self._path}' is not base64 of `name:password`",
                help=f"write it anew with `docker login {registry_host(key)}`",
            ) from None
        return username, password

    def _kept_by(self, name: str, registry: str) -> Credentials | None:
        """What the program `docker-credential-NAME` has for a registry."""
        program = f"docker-credential-{name}"
        key = _HUB_KEY if registry == DOCKER_HUB else registry
        try:
            done = process.run(
                [program, "get"],
                cwd=Path.cwd(),
                env=self._env,
                timeout=_HELPER_SECONDS,
                input=key,
            )
        except ProgramError as error:
            raise CredentialsError(
                f"the program that '{self._path}' names for logins is of no use: {error.message}",
                help=f"install `{program}`, or take it out of that file",
            ) from error
        if done.returncode:
            says = (done.stdout or done.stderr).strip()
            if "not found" in says or "no credentials" in says:
                return None
            raise CredentialsError(f"`{program} get` for '{registry}' failed: {redact(says)[:200]}")
        try:
            found = json.loads(done.stdout)
            username, secret = str(found.get("Username") or ""), str(found.get("Secret") or "")
        except (ValueError, AttributeError):  # what it printed may be the secret
            raise CredentialsError(f"`{program} get` printed something that is no JSON") from None
        if username == _TOKEN_USER:
            return Credentials(identity_token=secret)
        return Credentials(username, secret) if secret else None


def _mapping(config: Json, key: str) -> Mapping[str, Json]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def matching_credentials(
    name: Reference, login: builder.StepCredentials | None
) -> dict[str, Credentials]:
    """The login that a step names itself, if it is for the registry of this image."""
    if login and (not login.registry or registry_host(login.registry) == name.registry):
        return {name.registry: Credentials(login.username, login.password)}
    return {}
