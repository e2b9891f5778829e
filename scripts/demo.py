"""`make demo`: deploy examples/etl to a real Prefect server and run it.

The server uses SQLite and a free loopback port. It is deleted with its data when the demo ends.
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
from tests.support.waiting import until

PROJECT = ROOT / "examples" / "etl"
DEPLOYCTL = Path(sys.executable).with_name("deployctl")


def main() -> int:
    """Run the demo and return the exit code of the first command that failed, or 0."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    heading(f"Starting a Prefect {PREFECT_3} server")
    with running(PREFECT_3) as server:
        heading(f"It is ready at {server.api_url}. The project is {PROJECT.relative_to(ROOT)}.")
        for title, *command in (
            ("Show the plan", "plan", "--all", "--create-pools"),
            ("Deploy", "deploy", "--all", "--create-pools"),
            ("Deploy again: nothing changes", "deploy", "--all", "--create-pools"),
        ):
            heading(title)
            code = deployctl(server, *command)
            if code:
                return code
        heading("What is on the server now")
        show(server)
        heading("Start a worker that runs flows as processes, and follow one run to its end")
        with worker(server):
            code = deployctl(server, "run", "repo-info/demo", "--watch")
        if code:
            return code
    heading("The server is stopped and its data deleted.")
    return 0


def deployctl(server: Server, *args: str) -> int:
    """Run a command in the folder of the example and return its exit code."""
    print(f"$ deployctl {' '.join(args)}", flush=True)
    env = isolated(server.home, PREFECT_API_URL=server.api_url)
    return subprocess.run([DEPLOYCTL, *args], cwd=PROJECT, env=env, check=False).returncode


@contextmanager
def worker(server: Server) -> Iterator[None]:
    """Run a worker for the duration of a block, which begins when the worker is online.

    It runs flows with the server's Python.
    """
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
            until(lambda: post(server, "/work_pools/worker-pool/workers/filter"))
            yield
        finally:
            process.terminate()
            process.wait(timeout=60)


def show(server: Server) -> None:
    """Print the work pools, deployments and the next run, read from the server's API."""
    for pool in post(server, "/work_pools/filter"):
        print(f"work pool   {pool['name']} ({pool['type']})")
    for deployment in post(server, "/deployments/filter"):
        variables = deployment["job_variables"]
        print(f"deployment  {deployment['name']}, version {deployment['version']}")
        print(f"            runs {deployment['entrypoint']} in the image {variables['image']}")
        for schedule in deployment["schedules"]:
            times = schedule["schedule"]
            print(f"            scheduled {times['cron']!r} in {times['timezone']}")
    runs = post(server, "/flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", "limit": 1})
    for run in runs:
        print(f"next run    {run['name']} at {run['expected_start_time']}")


def post(server: Server, path: str, body: Any = None) -> Any:
    """Return the server's answer to a POST request."""
    request = urllib.request.Request(
        server.api_url + path,
        data=json.dumps(body or {}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
