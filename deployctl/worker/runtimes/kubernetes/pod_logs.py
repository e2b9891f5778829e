"""Logs of pods: the last lines of a job that ended, and every line of jobs with `stream_output`.

At most MAX_STREAMS pods are streamed at a time, each by a thread that mostly sleeps. Further pods
wait until a stream ends; their output is in the cluster all the same, and what Prefect's loggers
write reaches the server without the worker.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from deployctl.clients.kubernetes import KubeApiError, KubeClient, KubeUnreachable, Stream
from deployctl.worker.model import Emit, LinePrinted, Phase, RuntimeUnavailable
from deployctl.worker.runtimes.kubernetes.status import PodStatus, pod_status
from deployctl.worker.runtimes.tail import MAX_BYTES, last_lines_within_limit
from deployctl.worker.timings import DEFAULT_TIMINGS

MAX_STREAMS = 16


def last_pod_lines(kube: KubeClient, namespace: str, selector: str, lines: int) -> Sequence[str]:
    """The last lines that the newest pod of a job with any output printed.

    Each try of a Job with `backoffLimit` has a pod of its own, and only the last one says how the
    job ended. The output of a container before its restart comes before that of its current run.
    Raises RuntimeUnavailable.
    """
    try:
        listing = kube.list_objects(f"/api/v1/namespaces/{namespace}/pods", selector, pod_status)
        tail: deque[str] = deque(maxlen=lines)
        for pod in sorted(listing.items, key=_relevance):
            for previous in (True, False) if pod.restarts else (False,):
                tail.extend(_read_log(kube, pod, lines, previous))
            if tail:
                break
        return list(tail)
    except KubeUnreachable as error:
        raise RuntimeUnavailable(str(error)) from error
    except KubeApiError as error:
        if error.is_retryable:
            raise RuntimeUnavailable(str(error)) from error
        return []


def _relevance(pod: PodStatus) -> tuple[bool, float]:
    """Sort key: pods that have not started last, the newest of the others first."""
    return (pod.phase is Phase.WAITING, -pod.since)


def _read_log(kube: KubeClient, pod: PodStatus, lines: int, previous: bool) -> Sequence[str]:
    query = _container_query(pod) | ({"previous": "true"} if previous else {})

    def read(count: int) -> list[str]:
        """The API's limit counts from the oldest of these lines, and not exactly."""
        limits = {"tailLines": str(count), "limitBytes": str(2 * MAX_BYTES)}
        return kube.read_log(_path(pod), query | limits).splitlines()

    try:
        return last_lines_within_limit(read, lines)
    except KubeApiError as error:
        if error.is_retryable:
            raise
        return []


class LogStreamer:
    """Emits what pods print, each line as `LinePrinted`. Older output of a pod is left out."""

    def __init__(
        self,
        emit: Emit,
        since: float,
        reconnect_interval: float = DEFAULT_TIMINGS.log_reconnect_interval,
    ) -> None:
        """`since` is the time from which on lines are emitted, in seconds of the epoch;
        `reconnect_interval` is in seconds."""
        self._emit = emit
        self._reconnect_interval = reconnect_interval
        self._since = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._lock = threading.Lock()
        self._streams: dict[str, Stream] = {}
        """Open streams, by pod uid."""
        self._added: set[str] = set()
        """Uids of pods that are, or were, streamed."""
        self._thread_count = 0
        self._stopped = threading.Event()

    def add(self, kube: KubeClient, pod: PodStatus) -> None:
        """Streams the log of a pod once, unless too many are streamed at the moment."""
        with self._lock:
            if (
                self._stopped.is_set()
                or pod.uid in self._added
                or self._thread_count >= MAX_STREAMS
            ):
                return
            self._added.add(pod.uid)
            self._thread_count += 1
        thread = threading.Thread(target=self._run, args=(kube, pod), name="pod-log", daemon=True)
        thread.start()

    def retain(self, uids: Iterable[str]) -> None:
        """Forgets all pods except these."""
        with self._lock:
            self._added &= {*uids, *self._streams}

    def stop(self) -> None:
        """Stops all streams."""
        self._stopped.set()
        with self._lock:
            for stream in self._streams.values():
                stream.abort()

    def _run(self, kube: KubeClient, pod: PodStatus) -> None:
        """Emits a pod's lines to the last one; after a break, resumes where it was."""
        last = ""
        try:
            while True:
                resumed_at = last
                try:
                    for timestamp, text in self._lines(kube, pod, resumed_at or self._since):
                        if timestamp > resumed_at:
                            self._emit(LinePrinted(pod.attempt, text))
                        last = max(last, timestamp)
                    return
                except KubeUnreachable:
                    pass
                except KubeApiError as error:
                    if not error.is_retryable:
                        return
                if self._stopped.wait(self._reconnect_interval) or pod.uid not in self._added:
                    return
        finally:
            with self._lock:
                self._thread_count -= 1

    def _lines(self, kube: KubeClient, pod: PodStatus, since: str) -> Iterator[tuple[str, str]]:
        """Timestamps and lines of a log. The API applies `since` with a precision of seconds."""
        query = {**_container_query(pod), "timestamps": "true", "sinceTime": since}
        with kube.follow_log(_path(pod), query) as stream:
            with self._lock:
                self._streams[pod.uid] = stream
            try:
                for line in () if self._stopped.is_set() else stream:
                    timestamp, _, text = line.decode(errors="replace").partition(" ")
                    yield timestamp, text
            finally:
                with self._lock:
                    del self._streams[pod.uid]


def _path(pod: PodStatus) -> str:
    return f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/log"


def _container_query(pod: PodStatus) -> dict[str, str]:
    return {"container": pod.container} if pod.container else {}
