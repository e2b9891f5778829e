"""What jobs print: the last lines of one that ended, and every line of those that ask for it.

At most MOST_FOLLOWED jobs are followed at once, each by a thread that mostly sleeps; the output of
further ones is not repeated by the worker until one of these ends. It is in the cluster all the
same, and what Prefect's loggers print reaches the server by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from deployctl.clients.kubernetes import Kube, KubeApiError, KubeUnreachable, Stream
from deployctl.worker.model import Emit, LinePrinted, Phase, RuntimeUnavailable
from deployctl.worker.runtimes.kubernetes.status import PodStatus, pod_status

MAX_STREAMS = 16

_SECONDS_AFTER_A_BREAK = 5.0
"""From the moment on at which a log breaks off until it is asked for again."""


def last_lines(kube: Kube, namespace: str, selector: str, lines: int) -> Sequence[str]:
    """The last lines that the pods of a job printed, a failed pod's before any other's.

    Of a container that was started again, what it printed before comes first. Raises NotNow.
    """
    try:
        listing = kube.list_objects(f"/api/v1/namespaces/{namespace}/pods", selector, pod_status)
        kept: deque[str] = deque(maxlen=lines)
        for pod in sorted(listing.items, key=_interest):
            for previous in (True, False) if pod.restarts else (False,):
                kept.extend(_tail(kube, pod, lines, previous))
            if kept:
                break
        return list(kept)
    except KubeUnreachable as error:
        raise RuntimeUnavailable(str(error)) from error
    except KubeApiError as error:
        if error.is_retryable:
            raise RuntimeUnavailable(str(error)) from error
        return []


def _interest(pod: PodStatus) -> tuple[bool, bool, float]:
    return (pod.phase is not Phase.FAILED, pod.phase is Phase.WAITING, -pod.since)


def _tail(kube: Kube, pod: PodStatus, lines: int, previous: bool) -> list[str]:
    query = {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
    try:
        return kube.read_log(_path(pod), _of(pod) | query).splitlines()
    except KubeApiError as error:
        if error.is_retryable:
            raise
        return []


class LogStreamer:
    """Repeats what pods print, each line as `Printed`. What a pod printed before is left out."""

    def __init__(self, emit: Emit, since: float) -> None:
        """`since`: from when on lines are repeated, in seconds of the epoch."""
        self._emit = emit
        self._since = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        self._met: set[str] = set()
        """Pods that are, or were, followed, by uid."""
        self._running = 0
        self._over = threading.Event()

    def follow(self, kube: Kube, pod: PodStatus) -> None:
        """Follows a pod, once, unless too many are followed at the moment."""
        with self._lock:
            if self._over.is_set() or pod.uid in self._met or self._running >= MAX_STREAMS:
                return
            self._met.add(pod.uid)
            self._running += 1
        thread = threading.Thread(target=self._run, args=(kube, pod), name="follow", daemon=True)
        thread.start()

    def keep(self, pods: Iterable[str]) -> None:
        """Forgets all pods but these (uids)."""
        with self._lock:
            self._met &= {*pods, *self._streams}

    def end(self) -> None:
        """Ends all."""
        self._over.set()
        with self._lock:
            for stream in self._streams.values():
                stream.abort()

    def _run(self, kube: Kube, pod: PodStatus) -> None:
        """Repeats a pod's lines to the last; after a break it goes on where it was."""
        told = ""
        try:
            while True:
                before = told
                try:
                    for moment, text in self._lines(kube, pod, before or self._since):
                        if moment > before:
                            self._emit(LinePrinted(pod.attempt, text))
                        told = max(told, moment)
                    return
                except KubeUnreachable:
                    pass
                except KubeApiError as error:
                    if not error.is_retryable:
                        return
                if self._over.wait(_SECONDS_AFTER_A_BREAK) or pod.uid not in self._met:
                    return
        finally:
            with self._lock:
                self._running -= 1

    def _lines(self, kube: Kube, pod: PodStatus, since: str) -> Iterator[tuple[str, str]]:
        """What a pod prints from a moment on, of which whole seconds count: moments and lines."""
        query = {**_of(pod), "timestamps": "true", "sinceTime": since}
        with kube.follow_log(_path(pod), query) as stream:
            with self._lock:
                self._streams[pod.uid] = stream
            try:
                for line in () if self._over.is_set() else stream:
                    moment, _, text = line.decode(errors="replace").partition(" ")
                    yield moment, text
            finally:
                with self._lock:
                    del self._streams[pod.uid]


def _path(pod: PodStatus) -> str:
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/log"


def _of(pod: PodStatus) -> dict[str, str]:
    return {"container": pod.container} if pod.container else {}
