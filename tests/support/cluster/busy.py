"""Simulated kubelet that runs every pod of a namespace to its end, as fast as possible.

For tests with many Jobs. Deleted pods are ended as well. `ends` decides how a pod ends: it gets the
pod and returns an exit code, or None for a pod that runs on for now; it is called again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from tests.support.cluster.api import KubeApi, Refused
from tests.support.cluster.pods import Kubelet

POLL_INTERVAL = 0.1
ENDED = ("Succeeded", "Failed")


class BusyKubelet:
    """Moves all pods of a namespace for the length of a block."""

    def __init__(
        self, api: KubeApi, namespace: str, ends: Callable[[Any], int | None] = lambda _: 0
    ) -> None:
        self._kubelet = Kubelet(api, namespace)
        self._ends = ends
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.ended: dict[str, int] = {}
        """Exit codes of the pods that it has ended, by name."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        with ThreadPoolExecutor(8) as pool:
            pause = POLL_INTERVAL
            while not self._stop.wait(pause):
                begin = time.monotonic()
                list(pool.map(self._move, self._kubelet.pods()))
                pause = max(POLL_INTERVAL, time.monotonic() - begin)  # with thousands of pods

    def _move(self, pod: Any) -> None:
        """Move a pod one step; a pod that is deleted meanwhile is ignored."""
        name, phase = pod["metadata"]["name"], pod["status"]["phase"]
        try:
            if "deletionTimestamp" in pod["metadata"]:
                self._kubelet.remove(name)
            elif phase == "Pending":
                self._kubelet.running(name)
            elif phase not in ENDED:
                self._end(name, self._ends(pod))
        except Refused as refusal:
            if refusal.status not in {404, 409}:
                raise

    def _end(self, name: str, code: int | None) -> None:
        if code is None:
            return
        if code:
            self._kubelet.failed(name, code)
        else:
            self._kubelet.succeeded(name)
        self.ended[name] = code
