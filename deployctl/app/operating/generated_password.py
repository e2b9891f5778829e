"""The password in a Secret, generated once."""

from __future__ import annotations

import base64
import secrets

from deployctl.clients.kubernetes import KubeApiError, KubeClient

_BYTES = 24
_CONFLICT = 409


def ensure_password(kube: KubeClient, name: str, key: str) -> bool:
    """Adds a random password to a Secret unless it has one; whether it did.

    Of two callers at the same time, one does. The password has only characters that a URL may
    hold. Raises KubeApiError, also if the Secret does not exist, and KubeUnreachable.
    """
    path = f"/api/v1/namespaces/{kube.namespace}/secrets/{name}"
    while True:
        secret = kube.request("GET", path)
        if (secret.get("data") or {}).get(key):
            return False
        password = secrets.token_hex(_BYTES)
        body = {
            "metadata": {"resourceVersion": secret["metadata"]["resourceVersion"]},
            "data": {key: base64.b64encode(password.encode()).decode()},
        }
        try:
            kube.request("PATCH", path, body=body)
        except KubeApiError as error:
            if error.status != _CONFLICT:
                raise
        else:
            return True
