"""A run in a pod that reports its states and needs no Prefect: half a second of CPU, not five."""

from __future__ import annotations

import json
import os
import time
import urllib.request

URL = f"{os.environ['PREFECT_API_URL']}/flow_runs/{os.environ['PREFECT__FLOW_RUN_ID']}/set_state"


def report(kind: str) -> None:
    body = json.dumps({"state": {"type": kind, "name": kind.capitalize()}}).encode()
    headers = {"Content-Type": "application/json"}
    while True:
        try:
            # Sent again while a slow server works on the first, a request would arrive twice.
            urllib.request.urlopen(urllib.request.Request(URL, body, headers), timeout=900)
            return
        except OSError as error:
            print(kind, error, flush=True)
            time.sleep(1)


report("RUNNING")
time.sleep(3)
report("COMPLETED")
