"""Minimal Kubernetes API client for tests, with the credentials of one user, in plain JSON."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.cluster.pki import Pair

PATCHES = "application/merge-patch+json"


class Refused(Exception):
    """The API server answered with an error status."""

    def __init__(self, method: str, path: str, status: int, body: Any) -> None:
        self.status = status
        self.reason: str = body.get("reason", "") if isinstance(body, dict) else ""
        self.message: str = body.get("message", "") if isinstance(body, dict) else str(body)
        super().__init__(f"{method} {path}: {status} {self.reason} {self.message}")


@dataclass(frozen=True)
class KubeApi:
    """An API server and the credentials of a user: a client certificate or a token."""

    url: str
    authority: Path
    certificate: Pair | None = None
    token: str = ""

    def connect(self, timeout: float | None = 60.0) -> http.client.HTTPSConnection:
        """Open a new connection, to be closed by the caller."""
        target = urlsplit(self.url)
        return http.client.HTTPSConnection(
            target.hostname or "", target.port, timeout=timeout, context=self._context
        )

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority))
        if self.certificate:
            context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        return context

    @property
    def headers(self) -> dict[str, str]:
        """Headers of every request."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def request(self, method: str, path: str, body: Any = None, content_type: str = "") -> Any:
        """Send a request; returns the JSON of the answer, or its text if it is not JSON.

        A PATCH is a merge patch unless `content_type` says otherwise. Raises `Refused`, or OSError
        without an answer.
        """
        typed = content_type or (PATCHES if method == "PATCH" else "application/json")
        connection = self.connect()
        try:
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, self.headers | {"Content-Type": typed})
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text
        if answer.status >= 400:
            raise Refused(method, path, answer.status, parsed)
        return parsed

    def items(self, path: str) -> list[Any]:
        """The items of a list."""
        found: list[Any] = self.request("GET", path)["items"]
        return found

    def find(self, path: str) -> Any:
        """The object, or None if it does not exist."""
        try:
            return self.request("GET", path)
        except Refused as refusal:
            if refusal.status == 404:
                return None
            raise

    def write_kubeconfig(self, path: Path, namespace: str = "default") -> Path:
        """Write a kubeconfig for the same server and user; returns its path."""
        if self.certificate:
            user = {
                "client-certificate-data": _data(self.certificate.certificate),
                "client-key-data": _data(self.certificate.key),
            }
        else:
            user = {"token": self.token}
        cluster = {"server": self.url, "certificate-authority-data": _data(self.authority)}
        return write_kubeconfig(path, cluster, user, namespace)


def write_kubeconfig(
    path: Path, cluster: dict[str, str], user: dict[str, str], namespace: str
) -> Path:
    """Write a kubeconfig with one cluster, user and context, as JSON, which is YAML."""
    context = {"cluster": "test", "user": "test", "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))
    return path


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
