"""A project folder before an empty server, for tests that run deployctl as its users do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.api import Api
from tests.support.prefect_cli import CommandResult
from tests.support.project import write_project
from tests.support.proxy import Proxy

TRIGGER = {
    "type": "event",
    "expect": ["prefect.flow-run.Completed"],
    "match_related": {"prefect.resource.name": "upstream"},
    "parameters": {"name": "{{ event.resource.id }}"},
}


@dataclass
class ProjectHarness:
    """A project folder, an empty server with a pool `pool`, and a proxy that counts."""

    folder: Path
    api: Api
    proxy: Proxy
    cli: Callable[..., CommandResult]
    major: int
    api_url: str
    """The server without the proxy."""

    def write(self, deployments: Any, **top: Any) -> None:
        """Makes this the project's prefect.yaml; JSON is YAML."""
        write_project(
            self.folder, json.dumps({"name": "project", **top, "deployments": deployments})
        )

    def run(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Runs deployctl through the proxy and gives what it says in JSON."""
        self.proxy.clear()
        ended = self.cli(
            *args, "--output", "json", cwd=self.folder, api_url=self.proxy.api_url, **(env or {})
        )
        assert ended.code == code, f"exit code {ended.code}\n{ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

    def deploy(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        return self.run("deploy", "--all", *args, code=code, env=env)

    def ops(self) -> dict[str, int]:
        """What a plan would do: operation → number of roots."""
        summary = self.run("plan", "--all")["summary"]
        return {op: count for op, count in summary.items() if count and op != "none"}

    def live(self, name: str = "daily") -> Any:
        return self.api.deployment("hello", name)


def entry(**fields: Any) -> dict[str, Any]:
    """A deployment of the flow `hello` on the pool `pool`."""
    base = {"name": "daily", "entrypoint": "flows.py:hello", "work_pool": {"name": "pool"}}
    return {**base, **fields}


def errors(said: Any) -> list[Any]:
    return [d for d in said["diagnostics"] if d["severity"] == "error"]


def job_variables(live: Any) -> Any:
    return live.get("job_variables") or live.get("infra_overrides")
