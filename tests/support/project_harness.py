"""A project folder and an empty server, for tests that run deployctl as users do."""

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
    """A project folder, a server with only a work pool `pool`, and a recording proxy."""

    folder: Path
    api: Api
    proxy: Proxy
    cli: Callable[..., CommandResult]
    major: int
    api_url: str
    """URL of the server without the proxy."""

    def write(self, deployments: Any, **top: Any) -> None:
        """Writes prefect.yaml with these deployments and top-level keys, as JSON."""
        write_project(
            self.folder, json.dumps({"name": "project", **top, "deployments": deployments})
        )

    def write_text(self, prefect_yaml: str) -> None:
        """Writes this prefect.yaml, dedented."""
        write_project(self.folder, prefect_yaml)

    def run(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Runs deployctl through the proxy and returns its JSON output."""
        self.proxy.clear()
        result = self.cli(
            *args, "--output", "json", cwd=self.folder, api_url=self.proxy.api_url, **(env or {})
        )
        assert result.code == code, f"exit code {result.code}\n{result.stdout}\n{result.stderr}"
        return json.loads(result.stdout)

    def deploy(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Runs `deployctl deploy --all ARGS`, as `run` does."""
        return self.run("deploy", "--all", *args, code=code, env=env)

    def ops(self) -> dict[str, int]:
        """The planned operations: operation → number of resources."""
        summary = self.run("plan", "--all")["summary"]
        del summary["none"], summary["children"]
        return {op: count for op, count in summary.items() if count}

    def live(self, name: str = "daily") -> Any:
        """A deployment of the flow `hello` as the server has it."""
        return self.api.deployment("hello", name)


def entry(**fields: Any) -> dict[str, Any]:
    """A deployment of the flow `hello` on the pool `pool`."""
    base = {"name": "daily", "entrypoint": "flows.py:hello", "work_pool": {"name": "pool"}}
    return {**base, **fields}


def errors(output: Any) -> list[Any]:
    """The diagnostics of severity error in a JSON output."""
    return [d for d in output["diagnostics"] if d["severity"] == "error"]


def job_variables(live: Any) -> Any:
    """The job variables of a deployment on the server; Prefect 2 calls them infra_overrides."""
    return live.get("job_variables") or live.get("infra_overrides")
