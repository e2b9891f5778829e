"""A Prefect server's API as a test looks at it: what is there, and what a person did in the UI."""

from __future__ import annotations

import time
from typing import Any, Self

import httpx


class Api:
    """Plain requests, each on a connection of its own: a busy server may close an idle one at the
    very moment when it is used again."""

    def __init__(self, api_url: str) -> None:
        fresh = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(
            timeout=20, transport=httpx.HTTPTransport(retries=3, limits=fresh)
        )
        self._url = api_url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def answer(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Sends a request, again where a SQLite server is busy; gives the first other answer.

        Such a server may also say nothing for a minute, when two writes meet.
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
        """Sends a request that must succeed; gives the answer's JSON."""
        answer = self.answer(method, path, body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def deployment(self, flow: str, name: str) -> Any:
        """The deployment as the server has it."""
        return self.call("GET", f"/deployments/name/{flow}/{name}")

    def update(self, flow: str, name: str, **fields: Any) -> None:
        """Changes fields as somebody in the UI would."""
        self.call("PATCH", f"/deployments/{self.deployment(flow, name)['id']}", fields)

    def pool(self, name: str, type: str = "process", template: Any = None) -> Any:  # noqa: A002
        """Creates a work pool."""
        body = {"name": name, "type": type, "base_job_template": template or {}}
        return self.call("POST", "/work_pools/", body)

    def automations(self) -> list[Any]:
        """All automations."""
        found: list[Any] = self.call("POST", "/automations/filter", {})
        return found

    def scheduled_runs(self) -> list[str]:
        """The ids of all runs that wait for their time."""
        body = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
        return sorted(run["id"] for run in self.call("POST", "/flow_runs/filter", body))
