"""List-and-watch of one kind of object in one scope, as client-go's Reflector does it.

A reflector lists, watches from the resource version of that list, and starts over with back-off
after every failure. A watch that ends, breaks or times out is resumed where it was; after an ERROR
event of any code, and after any other refusal, the objects are listed again. So a watch may be
late, but it never stops without a new attempt.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Protocol

from deployctl.clients.kubernetes import (
    KubeApiError,
    KubeClient,
    KubeUnreachable,
    Stream,
    watch_events,
)
from deployctl.core.cancellation import CancellationToken
from deployctl.core.json_values import Json
from deployctl.core.retry import Backoff
from deployctl.worker.error_kinds import log_internal_error
from deployctl.worker.event_log import EventLog, EventName, Level
from deployctl.worker.runtimes.kubernetes.api_errors import api_error_cause
from deployctl.worker.runtimes.kubernetes.status import job_status, pod_status
from deployctl.worker.timings import DEFAULT_TIMINGS, Timings

ALL_NAMESPACES = ""
"""The scope of all namespaces."""


class WatchedKind(StrEnum):
    """The kinds of objects that are watched, by their resource names."""

    JOBS = "jobs"
    PODS = "pods"


_API_PATHS = {WatchedKind.JOBS: "/apis/batch/v1", WatchedKind.PODS: "/api/v1"}
_REDUCE: dict[WatchedKind, Callable[[Json], Any]] = {
    WatchedKind.JOBS: job_status,
    WatchedKind.PODS: pod_status,
}


class EventHandler(Protocol):
    """Receiver of what a reflector lists and watches, called in the reflector's thread."""

    def on_list(
        self, kind: WatchedKind, scope: str, statuses: list[Any], requested_at: float
    ) -> None:
        """Handles a complete list; `requested_at` is when it was requested, by `time.monotonic`."""

    def on_event(self, kind: WatchedKind, event: str, status: Any, item: Json) -> None:
        """Handles an event (ADDED, MODIFIED or DELETED): status and JSON of its object."""


def resource_path(kind: WatchedKind, scope: str) -> str:
    """The API path of a kind's objects in a namespace, or in ALL_NAMESPACES."""
    namespace = "" if scope == ALL_NAMESPACES else f"/namespaces/{scope}"
    return f"{_API_PATHS[kind]}{namespace}/{kind}"


class Reflector:
    """Feeds one kind of object in one scope to an `EventHandler` until it is stopped."""

    def __init__(
        self,
        kube: KubeClient,
        kind: WatchedKind,
        scope: str,
        selector: str,
        handler: EventHandler,
        event_log: EventLog,
        *,
        clock: Callable[[], float],
        timings: Timings = DEFAULT_TIMINGS,
    ) -> None:
        """`scope` is a namespace or ALL_NAMESPACES, `selector` a label selector."""
        self.kind = kind
        self.scope = scope
        self.last_contact = 0.0
        """Time of the last list, event or bookmark."""
        self.problem = "not listed yet"
        self.forbidden = False
        """The worker may not list these objects."""
        self._kube = kube
        self._selector = selector
        self._handler = handler
        self._event_log = event_log
        self._clock = clock
        self._timings = timings
        self._resource_version = ""
        self._stream: Stream | None = None
        self._stopped = False

    def run(self, cancellation: CancellationToken) -> None:
        """Lists and watches until stopped or cancelled, whatever fails."""
        waits = self._retry_waits()
        while not (cancellation.is_cancelled or self._stopped):
            began = self._clock()
            try:
                self.list_and_watch()
            except (KubeApiError, KubeUnreachable) as error:
                self._note_failure(error, began)
            except Exception as error:
                self._resource_version = ""
                self.problem = f"{type(error).__name__}: {error}"
                log_internal_error(self._event_log, error, f"the watch of {self.kind}")
            if (
                self.last_contact >= began
                and self._clock() - began > self._timings.watch_healthy_after
            ):
                waits = self._retry_waits()
            cancellation.wait(next(waits))

    def list_and_watch(self) -> None:
        """Lists if that is needed, then watches until the stream ends.

        Raises KubeApiError after which a list is needed, KubeUnreachable after which it is not.
        """
        path = resource_path(self.kind, self.scope)
        reduce = _REDUCE[self.kind]
        try:
            if not self._resource_version:
                self._list(path)
            with self._kube.watch(
                path, self._selector, self._resource_version, self._timings.watch_idle_timeout
            ) as stream:
                self._stream = stream
                self._note_success()
                if self._stopped:
                    return
                for event, item in watch_events(stream):
                    if event != "BOOKMARK":
                        self._handler.on_event(self.kind, event, reduce(item), item)
                    self._resource_version = item["metadata"]["resourceVersion"]
                    self._note_success()
        except KubeApiError:
            self._resource_version = ""
            raise

    def stop(self) -> None:
        """Stops from any thread: a watch that waits for events returns."""
        self._stopped = True
        if self._stream is not None:
            self._stream.abort()

    def _list(self, path: str) -> None:
        requested_at = time.monotonic()
        listing = self._kube.list_objects(path, self._selector, _REDUCE[self.kind])
        self._handler.on_list(self.kind, self.scope, listing.items, requested_at)
        self._resource_version = listing.resource_version
        self._note_success()

    def _note_success(self) -> None:
        self.last_contact = self._clock()
        self.problem = ""
        self.forbidden = False

    def _note_failure(self, error: KubeApiError | KubeUnreachable, began: float) -> None:
        """Records a failure; a watch that was open before it failed is only reopened."""
        was_forbidden, problem = self.forbidden, str(error)
        self.forbidden = False
        if isinstance(error, KubeApiError) and error.status == 403:
            self.forbidden = True
            cause = api_error_cause(error.status, error.reason, error.detail)
            problem = ". ".join(filter(None, (problem, cause.help)))
            if not was_forbidden and self.scope != ALL_NAMESPACES:
                self._event_log.emit(Level.WARNING, EventName.WATCH_FORBIDDEN, problem)
        if self.last_contact < began:
            self.problem = problem

    def _retry_waits(self) -> Iterator[float]:
        """An endless sequence of waits, in seconds, between attempts."""
        backoff = Backoff(tries=None, first=0.2, longest=self._timings.watch_retry_max)
        return backoff.waits(random.Random())
