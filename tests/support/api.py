"""Client for a Prefect server's API: tests check what is there and act as a user of the UI."""

from __future__ import annotations

import time
from typing import Any, Self

import httpx


class Api:
    """Sends each request on a new connection: a busy server may close an idle one just when it is
    used again."""

    def __init__(self, api_url: str) -> None:
        limits = httpx.Limits(max_keepalive_connections=0)
        # verify=False: servers speak plain HTTP, and reading the certificates takes 20 ms.
        transport = httpx.HTTPTransport(retries=3, limits=limits, verify=False)
        self._client = httpx.Client(timeout=20, transport=transport)
        self._url = api_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def answer(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Send a request, retry while the SQLite server is busy, and return the first other answer.

        Such a server may also not answer for a minute, when two writes collide.
        """
        for _ in range(50):
            try:
                answer = self._client.request(method, self._url + path, json=body)
            except httpx.ReadTimeout:
                continue
            if answer.status_code != 503:
                return answer
            time.sleep(0.1)
        raise AssertionError(f"{method} {path}: the server was busy 50 times")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that must succeed and return the JSON of the answer."""
        answer = self.answer(method, path, body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployment(self, flow: str, name: str) -> Any:
        """Return the deployment from the server."""
        return self.call("GET", f"/deployments/name/{flow}/{name}")

    def update(self, flow: str, name: str, **fields: Any) -> None:
        """Change fields as a user of the UI does."""
        self.call("PATCH", f"/deployments/{self.deployment(flow, name)['id']}", fields)

    def pool(self, name: str, type: str = "process", template: Any = None) -> Any:  # noqa: A002
        """Create a work pool."""
        body = {"name": name, "type": type, "base_job_template": template or {}}
        return self.call("POST", "/work_pools/", body)

    def automations(self) -> list[Any]:
        """Return all automations."""
        found: list[Any] = self.call("POST", "/automations/filter", {})
        return found

    def scheduled_runs(self) -> list[str]:
        """Return the ids of all scheduled runs."""
        body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        return sorted(run["id"] for run in self.call("POST", "/flow_runs/filter", body))
