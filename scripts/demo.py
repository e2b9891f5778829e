"""`make demo`: deploys examples/etl to a real Prefect server of its own, and runs it.

The server runs on SQLite on a free loopback port and is gone, with its data, when the demo ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.environment import isolated
from tests.support.servers import PREFECT_3, ROOT, Server, running

PROJECT = ROOT / "examples" / "etl"
DEPLOYCTL = Path(sys.executable).with_name("deployctl")


def main() -> int:
    """Runs the demo; gives the exit code of the first command that failed, or 0."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    say(f"Starting a Prefect {PREFECT_3} server")
    with running(PREFECT_3) as server:
        say(f"It answers at {server.api_url}. The project is {PROJECT.relative_to(ROOT)}.")
        for about, *command in (
            ("What would happen", "plan", "--all", "--create-pools"),
            ("Make it so", "deploy", "--all", "--create-pools"),
            ("Once more: there is nothing left to do", "deploy", "--all", "--create-pools"),
        ):
            say(about)
            code = deployctl(server, *command)
            if code:
                return code
        say("What the server holds now")
        show(server)
        say(
            "A worker runs what the pool schedules, here as processes; one run, followed to its end"
        )
        with worker(server):
            code = deployctl(server, "run", "repo-info/demo", "--watch")
        if code:
            return code
    say("The server is stopped and its data deleted.")
    return 0


def deployctl(server: Server, *args: str) -> int:
    """Runs a command as a user would in the example's folder, and gives its exit code."""
    print(f"$ deployctl {' '.join(args)}", flush=True)
    env = isolated(server.home, PREFECT_API_URL=server.api_url)
    return subprocess.run([DEPLOYCTL, *args], cwd=PROJECT, env=env, check=False).returncode


@contextmanager
def worker(server: Server) -> Iterator[None]:
    """A worker during the block, which runs the flows with the server's own Python."""
    command = [str(DEPLOYCTL), "worker", "--pool", "worker-pool", "--runtime", "process"]
    print(f"$ deployctl {' '.join(command[1:])} &", flush=True)
    env = isolated(
        server.home,
        PREFECT_API_URL=server.api_url,
        PREFECT_WORKER_QUERY_SECONDS="1",
        PATH=os.pathsep.join([str(server.python.parent), os.environ["PATH"]]),
    )
    log = server.home / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=PROJECT, env=env, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def show(server: Server) -> None:
    """Prints pools and deployments in a few words, straight from the server's API."""
    for pool in post(server, "/work_pools/filter"):
        print(f"work pool   {pool['name']} ({pool['type']})")
    for deployment in post(server, "/deployments/filter"):
        variables = deployment["job_variables"]
        print(f"deployment  {deployment['name']}, version {deployment['version']}")
        print(f"            runs {deployment['entrypoint']} in the image {variables['image']}")
        for schedule in deployment["schedules"]:
            print(f"            scheduled {schedule['schedule']}")
    runs = post(server, "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", "limit": 1})
    for run in runs:
        print(f"next run    {run['name']} at {run['expected_start_time']}")


def post(server: Server, path: str, body: Any = None) -> Any:
    """The answer of the server to a filter."""
    request = urllib.request.Request(
        server.api_url + path,
        data=json.dumps(body or {}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def say(text: str) -> None:
    """Prints a heading."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
